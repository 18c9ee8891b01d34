//! E1 to E4: what serving costs beside the forward pass.

use std::path::Path;

use anyhow::{Context, Result};
use serde_json::json;

use super::Bench;
use crate::bench::loads::{Bare, LoadReport};
use crate::bench::results::{Goal, Ratio};

/// How long E4's server would wait for company.
const TIMER_MS: f64 = 200.0;
/// Clips that E4 sends, one after the other.
const LONE_CLIPS: &str = "200";

/// Both sides of E1 and E2.
struct Rates {
    bare: [Bare; 2],
    served: LoadReport,
    unbatched: LoadReport,
}

/// E1, saturated rate ÷ best bare rate, and E2, served batching gain ÷ bare batching gain. The
/// bare model is measured before and after the server, so that a machine that drifts shows.
pub(super) fn measure(bench: &mut Bench<'_>, model: &Path) -> Result<Vec<Ratio>> {
    eprintln!("\n== E1, E2: saturated against bare");
    let bare =
        || bench.lab.bare(model, &[&bench.server_arguments()[..], &["--scores-only"]].concat());
    let before = bare()?;
    let server = bench.lab.serve(model, &bench.server_arguments())?;
    let served = bench.saturate_server(&server)?;
    drop(server);
    let unbatched = unbatched(bench, model)?;
    let rates = Rates { bare: [before, bare()?], served: served.clone(), unbatched };
    bench.saturated = Some(served);
    Ok(vec![rates.throughput(), rates.batching_gain()?])
}

impl Rates {
    fn best_bare(&self) -> f64 {
        let [before, after] = &self.bare;
        f64::midpoint(before.best_clips_per_second, after.best_clips_per_second)
    }

    fn throughput(&self) -> Ratio {
        Ratio {
            key: "E1",
            what: "saturated clips/s over loopback gRPC ÷ best bare forward",
            unit: "",
            goal: Goal::AtLeast(0.95),
            value: self.served.clips_per_second / self.best_bare(),
            method: "closed loop with twice as many callers as clips of a full batch, against the \
                     mean of the best bare rates before and after",
            details: json!({ "served": self.served.clips_per_second, "bare": self.bare,
                "stable": self.served.stable, "mean_batch_size": self.served.mean_batch_size }),
        }
    }

    fn batching_gain(&self) -> Result<Ratio> {
        let [before, after] = &self.bare;
        let lone = f64::midpoint(before.lone()?.clips_per_second, after.lone()?.clips_per_second);
        let (served, unbatched) = (self.served.clips_per_second, self.unbatched.clips_per_second);
        Ok(Ratio {
            key: "E2",
            what: "served batching gain ÷ bare batching gain",
            unit: "",
            goal: Goal::AtLeast(0.95),
            value: (served / unbatched) / (self.best_bare() / lone),
            method: "saturated rate with and without batches, against the best bare rate and that \
                     of single clips",
            details: json!({ "served": served, "served_unbatched": unbatched,
                "bare_best": self.best_bare(), "bare_unbatched": lone }),
        })
    }
}

/// The saturated rate of a server that batches nothing.
fn unbatched(bench: &Bench<'_>, model: &Path) -> Result<LoadReport> {
    let workers = bench.args.workers.to_string();
    let served =
        bench.lab.serve(model, &["--max-batch-size", "1", "--workers-per-device", &workers])?;
    let clients = (2 * bench.args.workers).max(2).to_string();
    bench.lab.load(&served, &bench.load_arguments(&["--clients", &clients]))
}

/// E3: what a lone caller of a raw clip of 256 pixels waits beyond the forward pass.
pub(super) fn lone_request(bench: &Bench<'_>, model: &Path) -> Result<Ratio> {
    eprintln!("\n== E3: a lone caller");
    let bare = || {
        bench.lab.bare(
            model,
            &[&bench.server_arguments()[..], &["--scores-only", "--batch-sizes", "1"]].concat(),
        )
    };
    let before = bare()?;
    let served = bench.lab.serve(model, &bench.server_arguments())?;
    let lone = ["--clients", "1", "--payload", "raw", "--side", "256"];
    let report = bench.lab.load(&served, &bench.load_arguments(&lone))?;
    drop(served);
    let after = bare()?;
    let median = |bare: &Bare| bare.lone().map(|batch| batch.median_ms);
    let forward = f64::midpoint(median(&before)?, median(&after)?);
    Ok(Ratio {
        key: "E3",
        what: "p50 at one client − p50 bare forward, raw clip of 256 × 256 pixels",
        unit: "ms",
        goal: Goal::AtMost(2.0),
        value: report.latency()?.p50 - forward,
        method: "closed loop of one caller, against the mean of the bare medians before and after",
        details: json!({ "served_p50_ms": report.latency()?.p50, "stable": report.stable,
            "bare_before_ms": median(&before)?, "bare_after_ms": median(&after)? }),
    })
}

/// E4: the server's own queue time of lone requests, where it may wait for company.
pub(super) fn no_timer(bench: &Bench<'_>, model: &Path) -> Result<Ratio> {
    eprintln!("\n== E4: no timer for a lone request");
    let timer = format!("{TIMER_MS:.0}");
    let timer = ["--max-batch-delay-ms", &timer];
    let served = bench.lab.serve(model, &[&bench.server_arguments()[..], &timer].concat())?;
    let report = bench.lab.load(&served, &["--clients", "1", "--requests", LONE_CLIPS])?;
    let queue = report.queue().context("E4 needs the server's timings")?;
    Ok(Ratio {
        key: "E4",
        what: "p99 of the queue time of lone requests while max_batch_delay is 200 ms",
        unit: "ms",
        // A timer would show as 200 in all of them; a busy machine may hold up one or two.
        goal: Goal::AtMost(TIMER_MS / 4.0),
        value: queue.p99,
        method: "the queue time that the server reports for 200 clips sent one after the other",
        details: json!({ "queue_p50_ms": queue.p50, "queue_p99_ms": queue.p99,
            "queue_max_ms": queue.max }),
    })
}
