use protoguard_model::StepLosses;
use serde::Serialize;

use crate::config::TrainerConfig;
use crate::train::EpochRecord;

/// One line of the log; `event` tells which.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "event", rename_all = "snake_case")]
pub enum Record<'a> {
    /// A process begins to work at the run.
    Run(RunRecord<'a>),
    /// Some steps are done.
    Step(StepRecord),
    /// An epoch is done.
    Epoch(&'a EpochRecord),
    /// The state is about to be saved, after so many steps.
    Saving {
        /// Steps of the run.
        step: u64,
    },
    /// The state was saved.
    Saved {
        /// Steps of the run.
        step: u64,
        /// What it took.
        seconds: f64,
    },
    /// Something a person should look at.
    Warning {
        /// What.
        message: &'a str,
    },
    /// The process leaves the run.
    End {
        /// `finished` or `stopped`.
        outcome: &'a str,
        /// The checkpoint's version, where one was written, or why not.
        detail: &'a str,
    },
}

/// What a process works with.
#[derive(Clone, Debug, Serialize)]
pub struct RunRecord<'a> {
    /// Version of the trainer.
    pub version: &'a str,
    /// The effective configuration.
    pub config: &'a TrainerConfig,
    /// The data, for a person to read.
    pub data: &'a str,
    /// Where it runs, such as `cpu`.
    pub device: String,
    /// What convolutions compute in.
    pub precision: String,
    /// Threads of a forward pass on the CPU.
    pub threads: i32,
    /// Steps an epoch.
    pub steps_per_epoch: u64,
    /// Steps done before this process.
    pub from_step: u64,
}

/// Means over the steps since the last record.
#[derive(Clone, Debug, Serialize)]
pub struct StepRecord {
    /// Steps of the run so far.
    pub step: u64,
    /// The epoch they are in, counted from 1.
    pub epoch: u64,
    /// Unweighted terms and the weighted sum.
    pub losses: StepLosses,
    /// Adam's learning rate.
    pub learning_rate: f64,
    /// Wall-clock time of a step, waiting included.
    pub seconds: f64,
    /// Time of a step that was spent waiting for the loader.
    pub waiting_seconds: f64,
    /// Memory that the process has resident.
    pub resident_mib: f64,
}

/// Resident memory of this process in MiB, or 0 where the system does not tell.
pub(crate) fn resident_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().next()?.parse::<f64>().ok());
    kib.unwrap_or(0.0) / 1024.0
}
