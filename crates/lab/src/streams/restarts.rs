//! S10: replicas that are restarted one after the other under their cameras.

use std::time::Duration;

use anyhow::{Result, ensure};
use serde_json::json;

use super::{Bench, STAMPS};
use crate::lab::{free_address, read_json};
use crate::loads::StreamReport;
use crate::results::{Goal, Ratio};

/// What a stop may take.
const GRACE: Duration = Duration::from_secs(30);
/// Between two events: enough for every camera to find its new place.
const PAUSE: Duration = Duration::from_secs(5);

/// Frames that nobody answered, and alarms that were told twice or lost, over a rolling restart.
pub(super) fn measure(bench: &Bench<'_>) -> Result<Ratio> {
    let streams = bench.args.restarted;
    eprintln!("\n== S10: two replicas restarted under {streams} cameras");
    let addresses = [free_address()?, free_address()?];
    let serve = |address: &str| bench.lab.serve_at(&bench.model, address, &[]);
    let mut replicas = [serve(&addresses[0])?, serve(&addresses[1])?];
    let out = bench.lab.at("restarted.json");
    let flags = format!(
        "{STAMPS} --streams {streams} --frames 45 --interval-ms 1000 --flicker 15 --false-alarms 1000000"
    );
    let both = addresses.join(",");
    let mut cameras =
        bench.lab.begin_streams(&both, &out, &flags.split_whitespace().collect::<Vec<_>>())?;
    let mut stops = Vec::new();
    for (replica, address) in replicas.iter_mut().zip(&addresses) {
        std::thread::sleep(PAUSE);
        let status = replica.server.stop(GRACE)?;
        stops.push(status.success());
        *replica = serve(address)?;
    }
    ensure!(cameras.wait()?.status.success(), "the cameras failed");
    let report: StreamReport = read_json(&out)?;
    if report.alarms.started == 0 {
        eprintln!("no alarm was raised, so that none could be doubled");
    }
    ensure!(report.handovers >= u64::from(streams), "few streams were handed over");
    let ended = report.failures.len() as u64;
    let harm = report.lost + report.misordered + report.alarms.doubled + report.alarms.lost + ended;
    Ok(Ratio {
        key: "S10",
        what: "frames unanswered, alarms doubled or lost in a rolling restart of two replicas",
        unit: "",
        goal: Goal::AtMost(0.0),
        value: harm as f64,
        method: "SIGTERM and a new start, one replica after the other, under cameras of a frame a \
                 second",
        details: json!({ "report": report, "ended_well": stops }),
    })
}
