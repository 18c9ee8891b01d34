//! E1 to E4: what serving costs beside the forward pass.

use std::path::Path;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::bench::Bench;
use crate::loads::{Bare, LoadReport};
use crate::results::{Goal, Ratio, median};

/// Of E1 and E2.
const ROUNDS: usize = 3;
/// A busy machine may hold up one or two lone clips for so long; a timer would hold up all.
const LONE_QUEUE_MS: f64 = 50.0;
/// Clips that E4 sends, one after the other.
const LONE_CLIPS: &str = "200";

/// Both sides of E1 and E2, one after the other.
#[derive(Serialize)]
struct Round {
    bare: Bare,
    served: f64,
    mean_batch_size: Option<f64>,
    unbatched: f64,
    stable: bool,
}

/// E1, saturated rate ÷ best bare rate, and E2, served batching gain ÷ bare batching gain. Both
/// sides take turns, because a shared machine is not as fast in every minute.
pub(super) fn measure(bench: &mut Bench<'_>, model: &Path) -> Result<Vec<Ratio>> {
    let mut rounds = Vec::new();
    for round in 0..ROUNDS {
        eprintln!("\n== E1, E2: saturated against bare, round {} of {ROUNDS}", round + 1);
        let more = [&bench.server_arguments()[..], &["--scores-only"]].concat();
        let bare = bench.lab.bare(model, &more)?;
        let server = bench.lab.serve(model, &bench.server_arguments())?;
        let served = bench.saturate_server(&server)?;
        drop(server);
        rounds.push(Round {
            bare,
            served: served.clips_per_second,
            mean_batch_size: served.mean_batch_size,
            unbatched: unbatched(bench, model)?.clips_per_second,
            stable: served.stable,
        });
        bench.saturated = Some(served);
    }
    let gains: Vec<f64> = rounds.iter().map(Round::batching_gain).collect::<Result<_>>()?;
    let details = json!({ "rounds": rounds });
    let middle = |ratios| median(ratios).context("there was a round");
    Ok(vec![
        Ratio {
            key: "E1",
            what: "saturated clips/s over loopback gRPC ÷ best bare forward",
            unit: "",
            goal: Goal::AtLeast(0.95),
            value: middle(rounds.iter().map(Round::throughput).collect())?,
            method: "closed loop with twice as many callers as clips of a full batch, after the bare \
                     model's best batch size; the median of three rounds",
            details: details.clone(),
        },
        Ratio {
            key: "E2",
            what: "served batching gain ÷ bare batching gain",
            unit: "",
            goal: Goal::AtLeast(0.95),
            value: middle(gains)?,
            method: "saturated rate with and without batches, against the best bare rate and that \
                     of single clips; the median of the same rounds",
            details,
        },
    ])
}

impl Round {
    fn throughput(&self) -> f64 {
        self.served / self.bare.best_clips_per_second
    }

    fn batching_gain(&self) -> Result<f64> {
        let bare = self.bare.best_clips_per_second / self.bare.lone()?.clips_per_second;
        Ok(self.served / self.unbatched / bare)
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

/// E4: the server's own queue time of lone requests.
pub(super) fn no_timer(bench: &Bench<'_>, model: &Path) -> Result<Ratio> {
    eprintln!("\n== E4: no timer for a lone request");
    let served = bench.lab.serve(model, &bench.server_arguments())?;
    let report = bench.lab.load(&served, &["--clients", "1", "--requests", LONE_CLIPS])?;
    let queue = report.queue().context("E4 needs the server's timings")?;
    Ok(Ratio {
        key: "E4",
        what: "p99 of the queue time of lone requests",
        unit: "ms",
        goal: Goal::AtMost(LONE_QUEUE_MS),
        value: queue.p99,
        method: "the queue time that the server reports for 200 clips sent one after the other",
        details: json!({ "queue_p50_ms": queue.p50, "queue_p99_ms": queue.p99,
            "queue_max_ms": queue.max }),
    })
}
