//! The server binary: configuration, telemetry, signals, and the models behind the service.
//!
//! Exit codes: 0 after a drain, 1 when serving failed, 2 for a wrong flag or configuration, 130
//! (or 143) when a second Ctrl-C (or SIGTERM) cut the drain short.

mod bare;
mod cli;
mod config;
mod descriptors;
mod flags;
mod models;
mod serve;
mod shutdown;
mod telemetry;
mod tune;

use std::env;
use std::io::Write;
use std::process::ExitCode;

use cli::{Command, Invocation};
use config::{Config, RawConfig};

fn main() -> ExitCode {
    let invocation = Invocation::read(env::args_os()).unwrap_or_else(|error| error.exit());
    if let Err(error) = protoguard_kernels::waiting::spin_briefly() {
        return fail(&error.into(), 1);
    }
    let flags = invocation.flags();
    let layers = invocation.layers(env::vars_os()).unwrap_or_else(|error| error.exit());
    let raw = match RawConfig::load(&layers) {
        Ok(raw) => raw,
        Err(error) => return fail(&error.into(), 2),
    };
    if flags.print_config {
        return finish(say(&raw.to_toml()));
    }
    let config = match Config::try_from(&raw) {
        Ok(config) => config,
        Err(error) => return fail(&error.into(), 2),
    };
    if flags.check_config {
        return ExitCode::SUCCESS;
    }
    if let Err(error) = protoguard_kernels::host_memory::keep_host_memory() {
        return fail(&error.into(), 1);
    }
    match &invocation.cli.command {
        None => finish(serve::serve(&config)),
        Some(Command::Bare(bare)) => finish(bare::run(&config, bare).and_then(|line| say(&line))),
        Some(Command::Tune(tune)) => finish(tune::run(&config, tune).and_then(|text| say(&text))),
    }
}

/// Ends the process without libtorch's destructors. A worker may still be inside a forward pass,
/// and they would wait for it or crash under it; nothing is left unwritten.
fn finish(done: anyhow::Result<()>) -> ExitCode {
    let code = done.map_or_else(
        |error| {
            fail(&error, 1);
            1
        },
        |()| 0,
    );
    signal_hook::low_level::exit(code)
}

/// Writes to standard output, which carries results only.
fn say(text: &str) -> anyhow::Result<()> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes())?;
    out.flush()?;
    Ok(())
}

/// Says on one line what went wrong.
fn fail(error: &anyhow::Error, code: u8) -> ExitCode {
    let line = format!("{error:#}").split_whitespace().collect::<Vec<_>>().join(" ");
    // Without a standard error there is nobody to tell; the exit code still does.
    let _ = writeln!(std::io::stderr(), "error: {line}");
    ExitCode::from(code)
}
