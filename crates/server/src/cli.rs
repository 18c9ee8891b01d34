//! The command line: serving without a command, measuring with one.

use clap::{CommandFactory, Subcommand};

use crate::bare::BareFlags;
use crate::flags::Flags;
use crate::tune::TuneFlags;

// Serving is what the flags without a command do, so their description is that of the program.
#[derive(Debug, clap::Parser)]
#[command(
    name = "protoguard-server",
    version,
    args_conflicts_with_subcommands = true,
    about = Flags::command().get_about().cloned().unwrap_or_default(),
    long_about = Flags::command().get_long_about().cloned().unwrap_or_default()
)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) flags: Flags,
    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Measures the forward pass alone, under the same settings as serving, and prints JSON.
    Bare(Box<BareFlags>),
    /// Measures how many workers, threads and which precision suit this machine and the model,
    /// and prints the best settings as TOML.
    Tune(Box<TuneFlags>),
}

impl Cli {
    /// The settings, wherever they were given.
    pub(crate) fn settings(&self) -> &Flags {
        match &self.command {
            None => &self.flags,
            Some(Command::Bare(bare)) => &bare.flags,
            Some(Command::Tune(tune)) => &tune.flags,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;

    fn parse(more: &[&str]) -> Result<Cli, clap::Error> {
        Cli::try_parse_from(["protoguard-server"].iter().chain(more))
    }

    #[test]
    fn serving_needs_no_command_and_measuring_takes_the_same_flags() {
        Cli::command().debug_assert();
        let about = Cli::command().get_about().map(ToString::to_string);
        assert_eq!(about.as_deref(), Some("Serves anomaly scores over gRPC"));
        let cli = parse(&["--model", "a"]).unwrap();
        assert!(cli.command.is_none() && cli.settings().model == ["a"]);
        for command in ["bare", "tune"] {
            let cli = parse(&[command, "--model", "a", "--threads-per-worker", "2"]).unwrap();
            let settings = cli.settings();
            assert_eq!((settings.model.len(), settings.threads_per_worker), (1, Some(2)));
            assert!(parse(&["--model", "a", command]).is_err());
        }
    }
}
