//! `cargo xtask bench soak`: 70 % load for a while, with faults thrown in.
//!
//! One open loop of good requests runs from beginning to end and must see nothing of what is done
//! beside it: every request has exactly one answer, and that is its scores.

mod faults;
mod incidents;

use std::collections::BTreeMap;
use std::fs;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use faults::{Fault, Faults};
use incidents::{Lasted, incidents, stalls};
use serde_json::json;

use super::lab::{Lab, NetworkSize, read_json};
use super::loads::LoadReport;
use super::results::median;
use super::service::reloads::Reloader;
use protoguard_launch::process::{Running, resident_bytes};
use protoguard_launch::workspace::Workspace;

/// Resident memory at the end ÷ that after the first quarter, which a flat server stays below.
const FLAT: f64 = 1.05;
const STOP: Duration = Duration::from_secs(60);

/// Flags of `bench soak`.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct SoakArgs {
    /// How long
    #[arg(long, default_value_t = 30.0)]
    minutes: f64,
    /// Side of the model in pixels
    #[arg(long, default_value_t = 192)]
    side: u32,
    /// Channels of its first level; with the side, 20 to 200 ms a clip are wanted
    #[arg(long, default_value_t = 24)]
    base_width: u32,
    /// Share of the saturated rate
    #[arg(long, default_value_t = 0.7)]
    load: f64,
    /// Seeds the order and times of the faults
    #[arg(long, default_value_t = 0)]
    seed: u64,
}

/// Soaks, and prints one line of JSON.
///
/// # Errors
/// When a program fails. Harm that was found is the exit code's to tell.
pub(crate) fn run(workspace: &Workspace, args: &SoakArgs) -> Result<ExitCode> {
    let lab = Lab::open(workspace)?;
    let size = NetworkSize { side: args.side, base_width: args.base_width };
    let candidates = [lab.train("soak-1", size, 1)?, lab.train("soak-2", size, 2)?];
    let live = lab.at("live.safetensors");
    fs::copy(&candidates[0], &live)?;
    let served = lab.serve(&live, &[])?;
    eprintln!("\n== the rate that the server saturates at");
    let saturated = lab.load(&served, &["--clients", "16", "--window-ms", "2000"])?;
    let rate = args.load * saturated.clips_per_second;
    eprintln!("\n== {} minutes at {rate:.1} clips/s with faults", args.minutes);
    let reloader = Reloader::new(&served, live, candidates);
    let faults = Faults { lab: &lab, served: &served, reloader };
    let soaked = soak(args, faults, rate)?;
    let mut served = served;
    let stopped = served.server.stop(STOP)?;
    let log = served.server.log();
    let panicked = log.matches("panicked at").count();
    let harm = soaked.harm(panicked, stopped.success());
    println!("{}", soaked.line(args, rate, &harm));
    Ok(if harm.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// What was seen.
struct Soaked {
    report: LoadReport,
    /// Faults, then stalls of the machine.
    lasted: Vec<Lasted>,
    complaints: Vec<String>,
    /// Bytes, in the order they were looked at.
    resident: Vec<u64>,
}

fn soak(args: &SoakArgs, mut faults: Faults<'_>, rate: f64) -> Result<Soaked> {
    let windows = (args.minutes * 60.0).ceil().max(1.0).to_string();
    let rate = rate.to_string();
    let out = faults.lab.at("soak.json");
    let load = ["--rate", &rate, "--warm-up-ms", "0", "--window-ms", "1000"];
    // As many must agree as there are: the load runs to the end.
    let load = [&load[..], &["--max-windows", &windows, "--stable-windows", &windows]].concat();
    let running = faults.lab.begin_load(faults.served, &out, &load)?;
    let mut soaked = Soaked {
        report: LoadReport::default(),
        lasted: Vec::new(),
        complaints: Vec::new(),
        resident: Vec::new(),
    };
    let (until, mut running) = (Duration::from_secs_f64(args.minutes * 60.0), running);
    let (started, ended) = (Instant::now(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let stalls = scope.spawn(|| stalls(started, &ended));
        soaked.inject(args, &mut faults, started, until);
        ended.store(true, Ordering::Relaxed);
        soaked.lasted.extend(stalls.join().expect("it only sleeps"));
    });
    ensure!(wait(&mut running)?, "the load failed");
    soaked.report = read_json(&out)?;
    Ok(soaked)
}

fn wait(load: &mut Running) -> Result<bool> {
    Ok(load.wait()?.status.success())
}

impl Soaked {
    /// A fault every second or so.
    fn inject(
        &mut self,
        args: &SoakArgs,
        faults: &mut Faults<'_>,
        started: Instant,
        until: Duration,
    ) {
        let mut random = fastrand::Rng::with_seed(args.seed);
        while started.elapsed() < until {
            let fault = Fault::ALL[random.usize(..Fault::ALL.len())];
            let from_s = started.elapsed().as_secs_f64();
            if let Err(error) = faults.inject(fault) {
                eprintln!("{}: {error:#}", fault.name());
                self.complaints.push(format!("{}: {error:#}", fault.name()));
            }
            let to_s = started.elapsed().as_secs_f64();
            self.lasted.push(Lasted { what: fault.name(), from_s, to_s });
            self.resident.push(resident_bytes(faults.served.server.pid()));
            std::thread::sleep(Duration::from_millis(random.u64(100..1500)));
        }
    }

    /// How often each kind of fault was injected, and how often the machine stalled.
    fn counts(&self) -> BTreeMap<&'static str, u32> {
        let mut counts = BTreeMap::new();
        for lasted in &self.lasted {
            *counts.entry(lasted.what).or_default() += 1;
        }
        counts
    }

    /// Median resident memory of the last quarter ÷ that of the second.
    fn growth(&self) -> f64 {
        let quarter = (self.resident.len() / 4).max(1);
        let middle = |looks: &[u64]| {
            median(looks.iter().map(|&bytes| bytes as f64).collect()).unwrap_or(f64::NAN)
        };
        let last = middle(&self.resident[self.resident.len().saturating_sub(quarter)..]);
        last / middle(self.resident.get(quarter..2 * quarter).unwrap_or(&self.resident))
    }

    /// Everything that should not have happened, in words.
    fn harm(&self, panicked: usize, stopped_well: bool) -> Vec<String> {
        let mut harm = self.complaints.clone();
        let LoadReport { sent, answered, .. } = self.report;
        if sent != answered {
            harm.push(format!("{sent} requests were sent and {answered} answered"));
        }
        let failed = self.report.other_than(&["OK"]);
        if failed > 0 {
            let failures = &self.report.failures;
            harm.push(format!("{failed} good requests failed: {failures:?}"));
        }
        if self.growth() > FLAT {
            harm.push(format!("resident memory grew by a factor of {:.3}", self.growth()));
        }
        if panicked > 0 {
            harm.push(format!("{panicked} panics are in the server's log"));
        }
        if !stopped_well {
            harm.push("the server did not end with 0".to_owned());
        }
        harm
    }

    fn line(&self, args: &SoakArgs, rate: f64, harm: &[String]) -> String {
        let latency = self.report.latency_ms;
        json!({
            "passed": harm.is_empty(),
            "minutes": args.minutes,
            "rate": rate,
            "sent": self.report.sent,
            "answered": self.report.answered,
            "codes": self.report.codes,
            "p50_ms": latency.map(|latency| latency.p50),
            "p99_ms": latency.map(|latency| latency.p99),
            "faults": self.counts(),
            "incidents": incidents(&self.report.windows, &self.lasted),
            "resident_growth": self.growth(),
            "harm": harm,
        })
        .to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn soaked(resident: Vec<u64>, codes: &[(&str, u64)]) -> Soaked {
        let codes: BTreeMap<String, u64> =
            codes.iter().map(|&(code, count)| (code.to_owned(), count)).collect();
        let sent = codes.values().sum();
        let report = LoadReport { codes, sent, answered: sent, ..LoadReport::default() };
        Soaked { report, lasted: Vec::new(), complaints: Vec::new(), resident }
    }

    #[test]
    fn warming_up_is_no_growth_and_a_leak_is() {
        let flat = soaked(vec![10, 50, 100, 100, 101, 99, 100, 102], &[("OK", 5)]);
        assert_eq!(flat.harm(0, true), Vec::<String>::new());
        let leak = soaked((0..100).map(|i| 100 + i).collect(), &[("OK", 5)]);
        assert!(leak.harm(0, true)[0].starts_with("resident memory grew"));
    }

    #[test]
    fn every_harm_is_named() {
        let mut soaked = soaked(vec![1; 8], &[("OK", 5), ("INTERNAL", 2)]);
        soaked.report.sent += 1;
        let harm = soaked.harm(3, false).join("; ");
        for word in ["8 requests were sent and 7 answered", "2 good requests failed", "3 panics"] {
            assert!(harm.contains(word), "{harm}");
        }
        assert!(harm.ends_with("did not end with 0"), "{harm}");
    }
}
