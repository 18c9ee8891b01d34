//! How cost grows with the work: with the batch, the side, the width, and the callers at a time.
//!
//! Convolutions do nearly all of the work, and theirs grows with the square of the side and of the
//! width. So clips a second times that work should stay the same or rise; where it falls, there is
//! a cliff.

use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::lab::{Lab, NetworkSize};
use super::loads::BareBatch;
use super::machine::{Machine, today};
use super::peers;
use super::results::write_results;
use protoguard_launch::workspace::Workspace;

/// What each of the others is varied from.
const BASE: NetworkSize = NetworkSize { side: 256, base_width: 32 };
/// Callers load a smaller network, of 20 ms a clip, so that a clip's way counts.
const SERVED: NetworkSize = NetworkSize { side: 256, base_width: 16 };

/// Flags of `bench scaling`.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct ScalingArgs {
    /// Clips of a forward pass
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32])]
    batches: Vec<u32>,
    /// Heights and widths of frames
    #[arg(long, value_delimiter = ',', default_values_t = [64, 128, 192, 256, 384, 512])]
    sides: Vec<u32>,
    /// Channels of the first level
    #[arg(long, value_delimiter = ',', default_values_t = [16, 24, 32, 48, 64, 96])]
    widths: Vec<u32>,
    /// Callers that each wait for their answer before they send the next clip
    #[arg(long, value_delimiter = ',', default_values_t = [1, 2, 4, 8, 16, 32, 64])]
    streams: Vec<u32>,
    /// Timed passes of a size
    #[arg(long, default_value_t = 5)]
    repetitions: u32,
    /// Folder for the results [default: benches/results in the workspace]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One size of one kind of work.
#[derive(Clone, Copy, Debug, Serialize)]
struct Point {
    size: u32,
    clips_per_second: f64,
    /// Of a pass, or of an answer under load.
    median_ms: f64,
    /// Clips a second times the work of a clip, which is 1 for the network that is varied from.
    work_per_second: f64,
}

/// What is varied, and what came of it.
#[derive(Clone, Debug, Serialize)]
struct Series {
    name: &'static str,
    axis: &'static str,
    points: Vec<Point>,
    /// The least work a second of a size ÷ the most of any smaller one; 1 where it never falls.
    worst_step: f64,
}

#[derive(Serialize)]
struct Results {
    date: String,
    machine: Machine,
    settings: Value,
    series: Vec<Series>,
}

/// Measures, writes the results and prints one line of JSON.
///
/// # Errors
/// When a program fails; a cliff is a result, not an error.
pub(crate) fn run(workspace: &Workspace, args: &ScalingArgs) -> Result<ExitCode> {
    let lab = Lab::open(workspace)?;
    let python = peers::python(workspace)?;
    let bench = Bench { lab: &lab, args };
    let (date, settings) = (today()?, serde_json::to_value(args)?);
    let machine = Machine::describe(workspace);
    let mut results = Results { date, machine, settings, series: Vec::new() };
    let default = workspace.root().join("benches/results");
    for measure in [Bench::batches, Bench::sides, Bench::widths, Bench::streams] {
        results.series.push(measure(&bench)?);
        // What took minutes is kept if what comes after it fails.
        let json = results.write(args.out.as_deref().unwrap_or(&default))?;
        let mut plot = peers::script(workspace, &python, "plot_scaling.py");
        lab.run(plot.arg(&json))?;
    }
    eprintln!("\n{}", results.markdown());
    println!("{}", results.line());
    Ok(ExitCode::SUCCESS)
}

struct Bench<'a> {
    lab: &'a Lab,
    args: &'a ScalingArgs,
}

impl Bench<'_> {
    fn batches(&self) -> Result<Series> {
        let points = self.bare(BASE, &self.args.batches)?.into_iter();
        let points = points.map(|batch| point(batch.batch_size, BASE, batch)).collect();
        Ok(Series::new("batch", "clips a pass", points))
    }

    fn sides(&self) -> Result<Series> {
        let of = |&side: &u32| self.lone(side, NetworkSize { side, ..BASE });
        let points = self.args.sides.iter().map(of).collect::<Result<_>>()?;
        Ok(Series::new("side", "pixels", points))
    }

    fn widths(&self) -> Result<Series> {
        let of = |&base_width: &u32| self.lone(base_width, NetworkSize { base_width, ..BASE });
        let points = self.args.widths.iter().map(of).collect::<Result<_>>()?;
        Ok(Series::new("width", "channels of the first level", points))
    }

    fn streams(&self) -> Result<Series> {
        let checkpoint = self.checkpoint(SERVED)?;
        let served = self.lab.serve(&checkpoint, &[])?;
        let of = |&clients: &u32| {
            eprintln!("== {clients} callers");
            let report = self.lab.load(&served, &["--clients", &clients.to_string()])?;
            Ok(Point {
                size: clients,
                clips_per_second: report.clips_per_second,
                median_ms: report.latency()?.p50,
                work_per_second: report.clips_per_second * work(SERVED),
            })
        };
        let points = self.args.streams.iter().map(of).collect::<Result<_>>()?;
        Ok(Series::new("streams", "callers at a time", points))
    }

    /// A network's passes over single clips.
    fn lone(&self, size: u32, network: NetworkSize) -> Result<Point> {
        let measured = self.bare(network, &[1])?;
        Ok(point(size, network, *measured.first().context("a batch of 1 was measured")?))
    }

    fn bare(&self, network: NetworkSize, batches: &[u32]) -> Result<Vec<BareBatch>> {
        let checkpoint = self.checkpoint(network)?;
        eprintln!("== {} pixels, width {}", network.side, network.base_width);
        let batches: Vec<String> = batches.iter().map(u32::to_string).collect();
        let repetitions = self.args.repetitions.to_string();
        let more = ["--scores-only", "--batch-sizes", &batches.join(","), "--repetitions"];
        let more = [&more[..], &[&repetitions, "--warm-up", "2"]].concat();
        Ok(self.lab.bare(&checkpoint, &more)?.scores)
    }

    fn checkpoint(&self, network: NetworkSize) -> Result<PathBuf> {
        let name = format!("scaling-{}-{}", network.side, network.base_width);
        let made = self.lab.at(&format!("{name}.safetensors"));
        if made.exists() { Ok(made) } else { self.lab.train(&name, network, 1) }
    }
}

/// The work of a clip, which is 1 for [`BASE`].
fn work(network: NetworkSize) -> f64 {
    let of = |ours: u32, base: u32| (f64::from(ours) / f64::from(base)).powi(2);
    of(network.side, BASE.side) * of(network.base_width, BASE.base_width)
}

fn point(size: u32, network: NetworkSize, batch: BareBatch) -> Point {
    let BareBatch { clips_per_second, median_ms, .. } = batch;
    Point { size, clips_per_second, median_ms, work_per_second: clips_per_second * work(network) }
}

impl Series {
    fn new(name: &'static str, axis: &'static str, points: Vec<Point>) -> Self {
        let (mut most, mut worst_step) = (0.0_f64, 1.0_f64);
        for point in &points {
            most = most.max(point.work_per_second);
            worst_step = worst_step.min(point.work_per_second / most);
        }
        Self { name, axis, points, worst_step }
    }
}

impl Results {
    fn write(&self, folder: &Path) -> Result<PathBuf> {
        write_results(folder, &format!("scaling-{}", self.date), self, &self.markdown())
    }

    fn markdown(&self) -> String {
        let mut text = format!(
            "# Cost as the work grows, {}\n\n{}.\n\nSettings: `{}`. Varied from {} pixels and width \
             {}; callers load a network of width {}. A clip's work grows with the squares of side \
             and width, and is 1 for the network that is varied from.\n",
            self.date,
            self.machine.line(),
            self.settings,
            BASE.side,
            BASE.base_width,
            SERVED.base_width
        );
        for Series { name, axis, points, worst_step } in &self.series {
            let _ = write!(
                text,
                "\n## {name}\n\nWorst step {worst_step:.3}.\n\n| {axis} | clips/s | median ms | work/s \
                 |\n|---:|---:|---:|---:|\n"
            );
            for Point { size, clips_per_second, median_ms, work_per_second } in points {
                let _ = writeln!(
                    text,
                    "| {size} | {clips_per_second:.2} | {median_ms:.1} | {work_per_second:.2} |"
                );
            }
        }
        text
    }

    /// The worst step of every series.
    fn line(&self) -> Value {
        let steps = self.series.iter().map(|series| (series.name, series.worst_step));
        steps.map(|(name, step)| (name.to_owned(), Value::from(step))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(rates: &[f64]) -> Series {
        let points = rates.iter().enumerate().map(|(index, &rate)| Point {
            size: 1 << index,
            clips_per_second: rate,
            median_ms: 1e3 / rate,
            work_per_second: rate,
        });
        Series::new("batch", "clips a pass", points.collect())
    }

    #[test]
    fn a_fall_below_any_smaller_size_is_the_worst_step() {
        assert_eq!(series(&[1.0, 2.0, 3.0]).worst_step, 1.0);
        assert_eq!(series(&[4.0, 5.0, 2.5, 4.0]).worst_step, 0.5);
    }

    #[test]
    fn work_grows_with_the_squares() {
        assert_eq!(work(BASE), 1.0);
        assert_eq!(work(NetworkSize { side: 512, base_width: 16 }), 1.0);
        assert_eq!(work(NetworkSize { side: 512, base_width: 64 }), 16.0);
    }
}
