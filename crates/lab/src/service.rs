//! The ratios E1 to E9: the service against the bare model, and against its own promises.

mod drain;
mod ideal;
mod open_loop;
pub(super) mod reloads;
mod saturation;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Result, ensure};
use serde::Serialize;

use super::lab::{Lab, NetworkSize};
use super::loads::LoadReport;
use super::machine::{Machine, today};
use super::results::{Ratio, Results};
use protoguard_launch::workspace::Workspace;

const KEYS: [&str; 9] = ["E1", "E2", "E3", "E4", "E5", "E6", "E7", "E8", "E9"];

/// Flags of `bench service`.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct ServiceArgs {
    /// Only these, such as E1,E3; nothing is written to benches/results then unless --out says so
    #[arg(long, value_delimiter = ',', value_parser = KEYS)]
    only: Vec<String>,
    /// Side of the measured model in pixels
    #[arg(long, default_value_t = 256)]
    side: u32,
    /// Channels of its first level; with the side, 20 to 200 ms a clip are wanted
    #[arg(long, default_value_t = 24)]
    base_width: u32,
    /// Clips of a forward pass, at most
    #[arg(long, default_value_t = 8)]
    max_batch_size: u32,
    /// Replicas, each with its share of the cores
    #[arg(long, default_value_t = 1)]
    workers: u32,
    /// Milliseconds of a window
    #[arg(long, default_value_t = 5000)]
    window_ms: u32,
    /// Windows at most
    #[arg(long, default_value_t = 10)]
    max_windows: u32,
    /// Stops under load that E8 makes
    #[arg(long, default_value_t = 5)]
    stops: u32,
    /// Reloads that E7 and E9 make
    #[arg(long, default_value_t = 100)]
    reloads: u32,
    /// Clips that E9 scores; the first tenth is what the rest is compared with
    #[arg(long, default_value_t = 10_000)]
    clips: u32,
    /// Folder for the results [default: benches/results in the workspace]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// Measures, writes the results and prints one line of JSON.
///
/// # Errors
/// When a program fails; a missed goal is a result, not an error.
pub(crate) fn run(workspace: &Workspace, args: &ServiceArgs) -> Result<ExitCode> {
    let lab = Lab::open(workspace)?;
    let mut bench = Bench { lab: &lab, args, settings: Settings::of(args), saturated: None };
    let mut ratios = Vec::new();
    if bench.wants(&["E1", "E2", "E3", "E4", "E5", "E6", "E8"]) {
        let model = lab.train("measured", bench.settings.size, 1)?;
        ratios.extend(bench.measured_model(&model)?);
    }
    if bench.wants(&["E7", "E9"]) {
        ratios.extend(reloads::measure(&bench)?);
    }
    // E6 has a second row.
    ratios.retain(|ratio| bench.wants(&[&ratio.key[..2]]));
    ratios.sort_by_key(|ratio| ratio.key);
    let results = Results {
        date: today()?,
        machine: Machine::describe(workspace),
        settings: serde_json::to_value(args)?,
        ratios,
    };
    let default = workspace.root().join("benches/results");
    let folder = args.out.clone().or_else(|| args.only.is_empty().then_some(default));
    if let Some(folder) = &folder {
        results.write(folder)?;
    }
    eprintln!("\n{}", results.markdown());
    println!("{}", results.line(&KEYS));
    Ok(ExitCode::SUCCESS)
}

/// One run of the measurements.
struct Bench<'a> {
    lab: &'a Lab,
    args: &'a ServiceArgs,
    settings: Settings,
    /// Measured once, by whoever needs it first.
    saturated: Option<LoadReport>,
}

/// The arguments, as the programs take them.
struct Settings {
    size: NetworkSize,
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

impl Bench<'_> {
    fn wants(&self, keys: &[&str]) -> bool {
        self.args.only.is_empty() || keys.iter().any(|key| self.args.only.iter().any(|k| k == key))
    }

    /// Callers that keep every worker's next batch full.
    fn saturating_clients(&self) -> u32 {
        2 * self.args.max_batch_size * self.args.workers
    }

    /// Everything that is measured on the model of 20 to 200 ms.
    fn measured_model(&mut self, model: &std::path::Path) -> Result<Vec<Ratio>> {
        let mut ratios = Vec::new();
        if self.wants(&["E1", "E2"]) {
            ratios.extend(saturation::measure(self, model)?);
        }
        if self.wants(&["E3"]) {
            ratios.push(saturation::lone_request(self, model)?);
        }
        if self.wants(&["E4"]) {
            ratios.push(saturation::no_timer(self, model)?);
        }
        if self.wants(&["E5"]) {
            ratios.push(open_loop::tail(self, model)?);
        }
        if self.wants(&["E6"]) {
            ratios.extend(open_loop::overload(self, model)?);
        }
        if self.wants(&["E8"]) {
            ratios.push(drain::measure(self, model)?);
        }
        Ok(ratios)
    }

    fn server_arguments(&self) -> Vec<&str> {
        self.settings.server.iter().map(String::as_str).collect()
    }

    /// The windows' arguments and more.
    fn load_arguments<'b>(&'b self, more: &[&'b str]) -> Vec<&'b str> {
        self.settings.windows.iter().map(String::as_str).chain(more.iter().copied()).collect()
    }

    /// The load at which a server of this model can do no more.
    fn saturate(&mut self, model: &std::path::Path) -> Result<LoadReport> {
        if let Some(report) = &self.saturated {
            return Ok(report.clone());
        }
        eprintln!("\n== the rate that the server saturates at");
        let served = self.lab.serve(model, &self.server_arguments())?;
        let report = self.saturate_server(&served)?;
        self.saturated = Some(report.clone());
        Ok(report)
    }

    fn saturate_server(&self, served: &super::lab::Served) -> Result<LoadReport> {
        let clients = self.saturating_clients().to_string();
        let report = self.lab.load(served, &self.load_arguments(&["--clients", &clients]))?;
        let failed = report.other_than(&["OK"]);
        ensure!(failed == 0, "{failed} requests failed at saturation: {:?}", report.failures);
        Ok(report)
    }
}
