//! The ratios E1 to E9: the service against the bare model, and against its own promises.

mod bench;
mod drain;
mod ideal;
mod open_loop;
pub(super) mod reloads;
mod saturation;

use std::path::Path;
use std::process::ExitCode;

use anyhow::Result;

use super::lab::Lab;
use super::machine::{Machine, today};
use super::results::{Ratio, Results};
use protoguard_launch::workspace::Workspace;

pub(crate) use bench::ServiceArgs;
use bench::{Bench, KEYS};

/// Measures, writes the results and prints one line of JSON.
///
/// # Errors
/// When a program fails; a missed goal is a result, not an error.
pub(crate) fn run(workspace: &Workspace, args: &ServiceArgs) -> Result<ExitCode> {
    let lab = Lab::open(workspace)?;
    let mut bench = Bench::new(&lab, args);
    let mut ratios = Vec::new();
    if bench.wants(&["E1", "E2", "E3", "E4", "E5", "E6", "E8"]) {
        let model = lab.train("measured", bench.settings.size, 1)?;
        ratios.extend(measured_model(&mut bench, &model)?);
    }
    if bench.wants(&["E7", "E9"]) {
        ratios.extend(reloads::measure(&bench)?);
    }
    // E6 has a second row.
    ratios.retain(|ratio| bench.wants(&[&ratio.key[..2]]));
    ratios.sort_by_key(|ratio| ratio.key);
    let results = Results {
        of: "Service",
        date: today()?,
        machine: Machine::describe(workspace),
        settings: serde_json::to_value(args)?,
        ratios,
    };
    let default = workspace.root().join("benches/results");
    let folder = args.out.clone().or_else(|| args.only.is_empty().then_some(default));
    results.publish(folder.as_deref(), &KEYS)?;
    Ok(ExitCode::SUCCESS)
}

/// Everything that is measured on the model of 20 to 200 ms.
fn measured_model(bench: &mut Bench<'_>, model: &Path) -> Result<Vec<Ratio>> {
    let mut ratios = Vec::new();
    if bench.wants(&["E1", "E2"]) {
        ratios.extend(saturation::measure(bench, model)?);
    }
    if bench.wants(&["E3"]) {
        ratios.push(saturation::lone_request(bench, model)?);
    }
    if bench.wants(&["E4"]) {
        ratios.push(saturation::no_timer(bench, model)?);
    }
    if bench.wants(&["E5"]) {
        ratios.push(open_loop::tail(bench, model)?);
    }
    if bench.wants(&["E6"]) {
        ratios.extend(open_loop::overload(bench, model)?);
    }
    if bench.wants(&["E8"]) {
        ratios.push(drain::measure(bench, model)?);
    }
    Ok(ratios)
}
