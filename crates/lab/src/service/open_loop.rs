//! E5 and E6: arrivals that wait for no answer.

use std::path::Path;

use anyhow::{Result, ensure};
use serde_json::json;

use super::bench::Bench;
use super::ideal;
use crate::results::{Goal, Ratio};
use crate::scrape::Page;

/// Every clip that rode in a batch was computed.
const COMPUTED: &str = "protoguard_batch_size_sum";

/// E5: p99 ÷ p50 at 70 % of saturation.
pub(super) fn tail(bench: &mut Bench<'_>, model: &Path) -> Result<Ratio> {
    let saturated = bench.saturate(model)?.clips_per_second;
    eprintln!("\n== E5: the tail at 70 % of {saturated:.2} clips/s");
    let served = bench.lab.serve(model, &bench.server_arguments())?;
    let rate = (0.7 * saturated).to_string();
    // A hundredth of the clips of three windows is one or two: six windows are measured.
    let arguments = ["--rate", &rate, "--stable-windows", "6"];
    let report = bench.lab.load(&served, &bench.load_arguments(&arguments))?;
    ensure!(report.other_than(&["OK"]) == 0, "requests failed: {:?}", report.failures);
    drop(served);
    let bare = [&bench.server_arguments()[..], &["--scores-only"]].concat();
    let ideal = ideal::tail(&bench.lab.bare(model, &bare)?.scores, 0.7 * saturated);
    let latency = report.latency()?;
    Ok(Ratio {
        key: "E5",
        what: "p99 ÷ p50 at 70 % of saturation, open loop, Poisson arrivals",
        unit: "",
        goal: Goal::AtMost(2.0),
        value: latency.p99 / latency.p50,
        method: "latency from the time that a clip was due, over the last six windows; `ideal` below \
                 is the same ratio of a server that costs nothing, from the bare times and the same \
                 arrivals",
        details: json!({ "ideal": ideal, "p50_ms": latency.p50, "p99_ms": latency.p99, "stable": report.stable,
            "rate": 0.7 * saturated, "saturated": saturated,
            "mean_batch_size": report.mean_batch_size }),
    })
}

/// E6: what is left of the goodput at twice the load, and what is computed for nobody. The server's
/// saturated rate is measured before and after, so that a machine that drifts shows.
pub(super) fn overload(bench: &Bench<'_>, model: &Path) -> Result<Vec<Ratio>> {
    let served = bench.lab.serve(model, &bench.server_arguments())?;
    eprintln!("\n== E6: saturation, twice as much, and saturation again");
    let saturated = bench.saturate_server(&served)?;
    let before = saturated.clips_per_second;
    // Time for three saturated queues' worth of work.
    let deadline_ms = (3.0 * saturated.latency()?.p50).max(500.0).round();
    let (asked, deadline) = ((2.0 * before).to_string(), deadline_ms.to_string());
    let arguments = ["--rate", &asked, "--deadline-ms", &deadline];
    let computed = Page::fetch(&served.metrics)?.sum(COMPUTED);
    let report = bench.lab.load(&served, &bench.load_arguments(&arguments))?;
    let computed = Page::fetch(&served.metrics)?.sum(COMPUTED) - computed;
    ensure!(computed > 0.0, "{COMPUTED} did not grow under load");
    let after = bench.saturate_server(&served)?.clips_per_second;
    let wasted = (computed - report.good as f64).max(0.0) / computed;
    let details = json!({ "goodput": report.goodput_per_second, "saturated_before": before,
        "saturated_after": after, "stable": report.stable, "deadline_ms": deadline_ms,
        "codes": report.codes, "clips_computed": computed, "clips_good": report.good,
        "mean_batch_size": report.mean_batch_size });
    Ok(vec![
        Ratio {
            key: "E6",
            what: "goodput at twice the load ÷ goodput at saturation",
            unit: "",
            goal: Goal::AtLeast(0.95),
            value: report.goodput_per_second / f64::midpoint(before, after),
            method: "open loop at twice the saturated rate, answers within the deadline alone, \
                     against the mean of the same server's saturated rates before and after",
            details: details.clone(),
        },
        Ratio {
            key: "E6_wasted",
            what: "share of computed clips that nobody got in time",
            unit: "",
            goal: Goal::AtMost(0.01),
            value: wasted,
            method: "growth of the server's sum of batch sizes, against good answers",
            details,
        },
    ])
}
