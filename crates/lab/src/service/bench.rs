//! What every measurement of the service shares: its flags, and the programs under them.

use std::path::{Path, PathBuf};

use anyhow::{Result, ensure};
use serde::Serialize;

use crate::lab::{Lab, NetworkSize, Served};
use crate::loads::LoadReport;
use crate::results::wants;

/// The ratios by name.
pub(super) const KEYS: [&str; 9] = ["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9"];

/// Flags of `bench service`.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct ServiceArgs {
    /// Only these, such as E1,E3; nothing is written to benches/results then unless --out says so
    #[arg(long, value_delimiter = ',', value_parser = KEYS)]
    pub(super) only: Vec<String>,
    /// Side of the measured model in pixels
    #[arg(long, default_value_t = 256)]
    pub(super) side: u32,
    /// Channels of its first level; with the side, 20 to 200 ms a clip are wanted
    #[arg(long, default_value_t = 24)]
    pub(super) base_width: u32,
    /// Clips of a forward pass, at most
    #[arg(long, default_value_t = 8)]
    pub(super) max_batch_size: u32,
    /// Replicas, each with its share of the cores
    #[arg(long, default_value_t = 1)]
    pub(super) workers: u32,
    /// Milliseconds of a window
    #[arg(long, default_value_t = 5000)]
    pub(super) window_ms: u32,
    /// Windows at most
    #[arg(long, default_value_t = 10)]
    pub(super) max_windows: u32,
    /// Stops under load that E8 makes
    #[arg(long, default_value_t = 5)]
    pub(super) stops: u32,
    /// Reloads that E7 and E9 make
    #[arg(long, default_value_t = 100)]
    pub(super) reloads: u32,
    /// Clips that E9 scores; the first tenth is what the rest is compared with
    #[arg(long, default_value_t = 10_000)]
    pub(super) clips: u32,
    /// Folder for the results [default: benches/results in the workspace]
    #[arg(long)]
    pub(super) out: Option<PathBuf>,
}

/// One run of the measurements.
pub(super) struct Bench<'a> {
    pub(super) lab: &'a Lab,
    pub(super) args: &'a ServiceArgs,
    pub(super) settings: Settings,
    /// Measured once, by whoever needs it first.
    pub(super) saturated: Option<LoadReport>,
}

/// The arguments, as the programs take them.
pub(super) struct Settings {
    pub(super) size: NetworkSize,
    /// Of the server and of the bare model.
    server: Vec<String>,
    windows: Vec<String>,
}

impl Settings {
    fn of(args: &ServiceArgs) -> Self {
        let pair = |flag: &str, value: u32| [flag.to_owned(), value.to_string()];
        let server = [
            pair("--max-batch-size", args.max_batch_size),
            pair("--workers-per-device", args.workers),
        ];
        let windows =
            [pair("--window-ms", args.window_ms), pair("--max-windows", args.max_windows)];
        Self {
            size: NetworkSize { side: args.side, base_width: args.base_width },
            server: server.concat(),
            windows: windows.concat(),
        }
    }
}

impl<'a> Bench<'a> {
    pub(super) fn new(lab: &'a Lab, args: &'a ServiceArgs) -> Self {
        Self { lab, args, settings: Settings::of(args), saturated: None }
    }

    pub(super) fn wants(&self, keys: &[&str]) -> bool {
        wants(&self.args.only, keys)
    }

    /// Callers that keep every worker's next batch full.
    pub(super) fn saturating_clients(&self) -> u32 {
        2 * self.args.max_batch_size * self.args.workers
    }

    pub(super) fn server_arguments(&self) -> Vec<&str> {
        self.settings.server.iter().map(String::as_str).collect()
    }

    /// The windows' arguments and more.
    pub(super) fn load_arguments<'b>(&'b self, more: &[&'b str]) -> Vec<&'b str> {
        self.settings.windows.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    /// The load at which a server of this model can do no more.
    pub(super) fn saturate(&mut self, model: &Path) -> Result<LoadReport> {
        if let Some(report) = &self.saturated {
            return Ok(report.clone());
        }
        eprintln!("\n== the rate that the server saturates at");
        let served = self.lab.serve(model, &self.server_arguments())?;
        let report = self.saturate_server(&served)?;
        self.saturated = Some(report.clone());
        Ok(report)
    }

    pub(super) fn saturate_server(&self, served: &Served) -> Result<LoadReport> {
        let clients = self.saturating_clients().to_string();
        let report = self.lab.load(served, &self.load_arguments(&["--clients", &clients]))?;
        let failed = report.other_than(&["OK"]);
        ensure!(failed == 0, "{failed} requests failed at saturation: {:?}", report.failures);
        Ok(report)
    }
}
