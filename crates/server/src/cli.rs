//! The command line: serving without a command, measuring with one.

use std::ffi::OsString;

use clap::{ArgMatches, CommandFactory, FromArgMatches, Subcommand};

use crate::bare::BareFlags;
use crate::config::{Layers, flag_layer};
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
    flags: Flags,
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

/// A command line that was read.
#[derive(Debug)]
pub(crate) struct Invocation {
    pub(crate) cli: Cli,
    matches: ArgMatches,
}

impl Invocation {
    /// Reads a command line, whose first word is the program.
    ///
    /// # Errors
    /// When a flag is not known or its value is not what it takes; also for `--help`, whose text the
    /// error is.
    pub(crate) fn read<T>(words: impl IntoIterator<Item = T>) -> Result<Self, clap::Error>
    where
        T: Into<OsString> + Clone,
    {
        let matches = command().try_get_matches_from(words)?;
        Ok(Self { cli: Cli::from_arg_matches(&matches)?, matches })
    }

    /// What to do with the configuration.
    pub(crate) fn flags(&self) -> &Flags {
        match &self.cli.command {
            None => &self.cli.flags,
            Some(Command::Bare(bare)) => &bare.flags,
            Some(Command::Tune(tune)) => &tune.flags,
        }
    }

    /// The layers of the configuration above the defaults, with `environment` as one of them.
    ///
    /// # Errors
    /// Never for a command line that was read.
    pub(crate) fn layers(
        &self,
        environment: impl IntoIterator<Item = (OsString, OsString)>,
    ) -> Result<Layers, clap::Error> {
        let matches = self.matches.subcommand().map_or(&self.matches, |(_, of_command)| of_command);
        // No key has a variable whose name is not Unicode.
        let named = |(name, text): (OsString, OsString)| Some((name.into_string().ok()?, text));
        Ok(Layers {
            file: self.flags().config.clone(),
            environment: environment.into_iter().filter_map(named).collect(),
            flags: flag_layer(matches)?,
        })
    }
}

/// The program and its commands, as `--help` shows them.
pub(crate) fn command() -> clap::Command {
    without_empty_defaults(Cli::command())
}

/// An empty default says nothing that the key's comment does not.
fn without_empty_defaults(command: clap::Command) -> clap::Command {
    let shown = command.mut_args(|flag| {
        let is_empty = flag.get_default_values().iter().any(|text| text.is_empty());
        flag.hide_default_value(is_empty)
    });
    shown.mut_subcommands(without_empty_defaults)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(more: &[&str]) -> Result<Invocation, clap::Error> {
        Invocation::read(["protoguard-server"].iter().chain(more))
    }

    #[test]
    fn serving_needs_no_command_and_measuring_takes_the_same_flags() {
        command().debug_assert();
        let about = command().get_about().map(ToString::to_string);
        assert_eq!(about.as_deref(), Some("Serves anomaly scores over gRPC"));
        let given = |words: &[&str]| read(words).unwrap().layers([]).unwrap().flags;
        assert!(read(&["--model", "a"]).unwrap().cli.command.is_none());
        assert_eq!(given(&["--model", "a"]).to_string(), "[[models]]\npath = \"a\"\n");
        for command in ["bare", "tune"] {
            let flags = given(&[command, "--model", "a", "--threads-per-worker", "2"]);
            assert_eq!(flags.len(), 2, "{flags}");
            assert_eq!(flags["threads_per_worker"].as_integer(), Some(2));
            assert!(read(&["--model", "a", command]).is_err());
        }
    }
}
