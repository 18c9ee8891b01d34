//! `protoguard-trainer`: its commands are in [`protoguard_trainer::cli`].

use std::io::IsTerminal;
use std::process::ExitCode;

use clap::Parser;
use protoguard_trainer::cli::Cli;

/// Threads that wait as they should, and memory that is kept.
fn prepare(cli: &Cli) -> anyhow::Result<()> {
    // Starting again takes as long as loading libtorch, which a command that only reads can spare.
    if cli.command.computes() {
        protoguard_kernels::waiting::spin_briefly()?;
    }
    Ok(protoguard_kernels::host_memory::keep_host_memory()?)
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_ansi(std::io::stderr().is_terminal())
        .with_target(false)
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("info")),
        )
        .init();
    let prepared = prepare(&cli);
    match prepared.and_then(|()| protoguard_trainer::run(cli)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            #[allow(clippy::print_stderr, reason = "the one line that a failed command answers")]
            {
                eprintln!("error: {}", protoguard_trainer::one_line(&error));
            }
            ExitCode::from(protoguard_trainer::exit_code(&error))
        }
    }
}
