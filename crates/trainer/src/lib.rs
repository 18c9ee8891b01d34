//! The trainer: folders of normal video in, a checkpoint and its measure out.
//!
//! `train` fits a network, calibrates it on the normal frames and writes a checkpoint, and goes
//! on where it was stopped; `evaluate` measures one on labelled video beside baselines without a
//! model, `validate` without labels on anomalies put into normal video; `ablate` trains and measures
//! a grid of configurations. `calibrate`, `export` and `show` take a checkpoint, `inspect` reports
//! what a data set holds, `synth` draws scenes to try them on. A library besides the program, so
//! that each part is tested by itself.

pub mod ablate;
pub mod calibrate;
pub mod cli;
pub mod config;
pub mod evaluate;
pub mod export;
pub mod inspect;
pub mod interrupt;
pub mod log;
pub mod measure;
pub mod output;
pub mod progress;
pub mod scoring;
pub mod show;
pub mod source;
mod synth;
pub mod train;
pub mod validate;
pub mod zones;

use cli::{Cli, Command};

/// Runs a command of the program.
///
/// # Errors
/// Whatever ended it; [`exit_code`] tells usage from failure.
pub fn run(cli: Cli) -> anyhow::Result<()> {
    match cli.command {
        Command::Train(args) => train::run(&args),
        Command::Config(args) => config::run(&args),
        Command::Show(args) => show::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Calibrate(args) => calibrate::run(&args),
        Command::Step(args) => measure::run(&args),
        Command::Ablate(args) => ablate::run(&args),
        Command::Evaluate(args) => evaluate::run(&args),
        Command::Validate(args) => validate::run(&args),
        Command::Inspect(args) => inspect::run(&args),
        Command::Synth(args) => synth::run(&args),
    }
}

/// 2 for a command that could never have worked as it was called, 130 or 143 for one that a signal
/// stopped, 1 for any other failure.
pub fn exit_code(error: &anyhow::Error) -> u8 {
    use train::{SaverError, StateError, TrainError};
    if let Some(TrainError::Interrupted { signal, .. } | TrainError::NotSaved { signal, .. }) =
        error.downcast_ref()
    {
        return signal.exit_code();
    }
    let unfinished = matches!(error.downcast_ref(), Some(SaverError::Unfinished { .. }));
    let other_run =
        matches!(error.downcast_ref(), Some(StateError::Config { .. } | StateError::Data { .. }));
    let usage = error.is::<config::ConfigError>() || error.is::<output::OutputError>();
    if usage || unfinished || other_run { 2 } else { 1 }
}

/// An error and its causes. Most messages already end in their cause's words, which are then not
/// repeated.
pub fn one_line(error: &anyhow::Error) -> String {
    let mut line = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !line.contains(&cause) {
            line = format!("{line}: {cause}");
        }
    }
    line
}

#[cfg(test)]
mod tests {
    use protoguard_datasets::DatasetError;
    use protoguard_frames::files::FilesError;

    #[test]
    fn a_cause_is_said_once() {
        let io = std::io::Error::other("no such luck");
        let error = DatasetError::from(FilesError::Io { path: "there".into(), source: io });
        let error = anyhow::Error::from(error).context("reading frames");
        let line = super::one_line(&error);
        assert_eq!(line, "reading frames: cannot read \"there\": no such luck");
    }
}
