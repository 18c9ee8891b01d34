//! E7 and E9: a hundred reloads under load, and the memory that they and many clips leave.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::bench::Bench;
use crate::lab::{NetworkSize, Served};
use crate::loads::LoadReport;
use crate::results::{Goal, Ratio};
use crate::scrape::Page;
use protoguard_launch::process::resident_bytes;

/// A small model: what is looked for is what a reload breaks or keeps, not how long it computes.
const SMALL: NetworkSize = NetworkSize { side: 32, base_width: 8 };
/// Longer than a reload takes, so that one that does not happen fails the measurement.
const PATIENCE: Duration = Duration::from_secs(30);
const LOOK: Duration = Duration::from_millis(20);
/// Until a replaced model has given its memory back.
const REST: Duration = Duration::from_secs(2);
/// Clips of one load; loads follow each other until the reloads are done.
const LOAD_CLIPS: u32 = 500;

/// Two checkpoints that take each other's place under a running server.
pub(crate) struct Reloader<'a> {
    served: &'a Served,
    live: PathBuf,
    candidates: [PathBuf; 2],
    next: usize,
}

/// What a run of loads and reloads left.
struct Endured {
    clips: u64,
    failed: u64,
    reloads: u32,
    failures: Vec<String>,
    resident_first: u64,
    /// After a tenth of the reloads: what the first ones take once shows here already.
    resident_reloaded: u64,
    resident_last: u64,
}

/// E7 and E9 from one run.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Vec<Ratio>> {
    eprintln!("\n== E7, E9: {} reloads under load", bench.args.reloads);
    let candidates = [1, 2].map(|seed| bench.lab.train(&format!("candidate-{seed}"), SMALL, seed));
    let [first, second] = candidates;
    let candidates = [first?, second?];
    let live = bench.lab.at("live.safetensors");
    fs::copy(&candidates[0], &live).context("the lab's folder is gone")?;
    let served = bench.lab.serve(&live, &[])?;
    let reloader = Reloader::new(&served, live, candidates);
    let endured = endure(bench, &served, reloader)?;
    let ratio = endured.resident_last as f64 / endured.resident_first as f64;
    Ok(vec![
        Ratio {
            key: "E7",
            what: "failed requests during 100 reloads under load",
            unit: "",
            goal: Goal::AtMost(0.0),
            value: endured.failed as f64,
            method: "four callers, while two checkpoints take turns by rename and SIGHUP",
            details: json!({ "clips": endured.clips, "reloads": endured.reloads,
                "failures": endured.failures }),
        },
        Ratio {
            key: "E9",
            what: "resident memory after 10 000 clips and 100 reloads ÷ after the first 1 000",
            unit: "",
            goal: Goal::AtMost(1.05),
            value: ratio,
            method: "resident set of the server process after two seconds of rest",
            details: json!({ "clips": endured.clips, "reloads": endured.reloads,
                "first_bytes": endured.resident_first,
                "after_a_tenth_of_the_reloads_bytes": endured.resident_reloaded,
                "last_bytes": endured.resident_last }),
        },
    ])
}

/// The first tenth of the clips without reloads, the rest with them.
fn endure(bench: &Bench<'_>, served: &Served, mut reloader: Reloader<'_>) -> Result<Endured> {
    let pid = served.server.pid();
    let mut endured = Endured {
        clips: 0,
        failed: 0,
        reloads: 0,
        failures: Vec::new(),
        resident_first: 0,
        resident_reloaded: 0,
        resident_last: 0,
    };
    let first = bench.args.clips / 10;
    endured.add(load(bench, served, first)?);
    std::thread::sleep(REST);
    endured.resident_first = resident_bytes(pid);
    while endured.reloads < bench.args.reloads || endured.clips < u64::from(bench.args.clips) {
        let wanted = bench.args.reloads - endured.reloads;
        let (report, reloads) = std::thread::scope(|scope| {
            let loading = scope.spawn(|| load(bench, served, LOAD_CLIPS));
            let mut reloads = 0;
            while !loading.is_finished() && reloads < wanted {
                reloader.reload()?;
                reloads += 1;
            }
            let report = loading.join().map_err(|_| anyhow::anyhow!("the load panicked"))??;
            anyhow::Ok((report, reloads))
        })?;
        endured.reloads += reloads;
        endured.add(report);
        if endured.resident_reloaded == 0 && endured.reloads >= bench.args.reloads / 10 {
            std::thread::sleep(REST);
            endured.resident_reloaded = resident_bytes(pid);
        }
    }
    std::thread::sleep(REST);
    endured.resident_last = resident_bytes(pid);
    Ok(endured)
}

fn load(bench: &Bench<'_>, served: &Served, clips: u32) -> Result<LoadReport> {
    let clips = clips.to_string();
    bench.lab.load(served, &["--clients", "4", "--requests", &clips])
}

impl Endured {
    fn add(&mut self, report: LoadReport) {
        self.clips += report.answered;
        self.failed += report.other_than(&["OK"]);
        self.failures.extend(report.failures.into_values());
        self.failures.truncate(10);
    }
}

impl<'a> Reloader<'a> {
    pub(crate) fn new(served: &'a Served, live: PathBuf, candidates: [PathBuf; 2]) -> Self {
        Self { served, live, candidates, next: 1 }
    }

    /// Puts the other checkpoint in place, asks for a reload and waits until it serves.
    pub(crate) fn reload(&mut self) -> Result<()> {
        let before = self.version()?;
        self.replace(&self.candidates[self.next % 2].clone())?;
        self.next += 1;
        let asked = std::time::Instant::now();
        while self.version()? == before {
            ensure!(
                asked.elapsed() < PATIENCE,
                "{before} still serves {PATIENCE:?} after a reload"
            );
            std::thread::sleep(LOOK);
        }
        Ok(())
    }

    /// Puts something that is no checkpoint in place, which must change nothing, and puts the
    /// good one back.
    pub(crate) fn break_and_mend(&mut self) -> Result<()> {
        let before = self.version()?;
        let refused = self.reloads()?;
        let broken = self.live.with_extension("broken");
        fs::write(&broken, b"no checkpoint").context("the lab's folder is gone")?;
        self.replace(&broken)?;
        let asked = std::time::Instant::now();
        while self.reloads()? == refused {
            ensure!(asked.elapsed() < PATIENCE, "a broken checkpoint went unnoticed");
            std::thread::sleep(LOOK);
        }
        ensure!(self.version()? == before, "a broken checkpoint took the place of {before}");
        self.replace(&self.candidates[(self.next + 1) % 2].clone())
    }

    /// By rename, so that the server never reads half a file.
    fn replace(&self, with: &std::path::Path) -> Result<()> {
        let fresh = self.live.with_extension("fresh");
        fs::copy(with, &fresh).context("the lab's folder is gone")?;
        fs::rename(&fresh, &self.live).context("the lab's folder is gone")?;
        self.served.server.hang_up()
    }

    fn version(&self) -> Result<String> {
        let page = Page::fetch(&self.served.metrics)?;
        let mut versions = page.label_values("protoguard_model_info", "version");
        versions.sort_unstable();
        Ok(versions.join(" "))
    }

    /// Reloads so far, whatever became of them.
    fn reloads(&self) -> Result<f64> {
        Ok(Page::fetch(&self.served.metrics)?.sum("protoguard_reloads_total"))
    }
}
