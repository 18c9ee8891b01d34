//! E8: SIGTERM under load.

use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use serde_json::json;

use super::bench::Bench;
use crate::lab::read_json;
use crate::loads::LoadReport;
use crate::results::{Goal, Ratio};

/// What a caller may try again: the server says so, or is gone.
const RETRYABLE: [&str; 3] = ["OK", "UNAVAILABLE", "UNREACHABLE"];
/// Time that the server is given, as its supervisor would.
const GRACE: Duration = Duration::from_secs(30);
const LOAD: [&str; 8] =
    ["--clients", "8", "--warm-up-ms", "0", "--window-ms", "2000", "--max-windows", "2"];

/// Failures that a caller may not try again, over several stops.
pub(super) fn measure(bench: &Bench<'_>, model: &Path) -> Result<Ratio> {
    eprintln!("\n== E8: SIGTERM under load, {} times", bench.args.stops);
    let (mut failed, mut late, mut stops) = (0, 0, Vec::new());
    for stop in 0..bench.args.stops {
        let mut served = bench.lab.serve(model, &bench.server_arguments())?;
        let out = bench.lab.at(&format!("stop-{stop}.json"));
        let mut load = bench.lab.begin_load(&served, &out, &LOAD)?;
        // At a random moment of the load's first window.
        std::thread::sleep(Duration::from_millis(fastrand::u64(300..1800)));
        let asked = Instant::now();
        let ended = served.server.stop(GRACE);
        let seconds = asked.elapsed().as_secs_f64();
        let in_grace = ended.is_ok_and(|status| status.success());
        ensure!(load.wait()?.status.success(), "the load failed");
        let report: LoadReport = read_json(&out)?;
        let ok = report.codes.get("OK").copied().unwrap_or_default();
        ensure!(ok > 0, "no clip was scored before the stop: {:?}", report.failures);
        failed += report.other_than(&RETRYABLE);
        late += u32::from(!in_grace);
        stops.push(json!({ "codes": report.codes, "failures": report.failures,
            "exit_seconds": seconds, "exit_0_in_grace": in_grace }));
    }
    Ok(Ratio {
        key: "E8",
        what: "non-retryable failures over SIGTERM under load, and exits out of grace",
        unit: "",
        goal: Goal::AtMost(0.0),
        value: (failed + u64::from(late)) as f64,
        method: "eight callers, SIGTERM at a random moment, exit with 0 within 30 s",
        details: json!({ "failed": failed, "out_of_grace": late, "stops": stops }),
    })
}
