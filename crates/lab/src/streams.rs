//! S1 to S10: cameras that stream, against the bare model and against what is promised of them.

mod restarts;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::json;

use super::lab::{Lab, NetworkSize, Served};
use super::loads::StreamReport;
use super::machine::{Machine, today};
use super::results::{Goal, Ratio, Results, wants};
use super::scrape::Page;
use protoguard_launch::process::resident_bytes;
use protoguard_launch::workspace::Workspace;

/// What frames say of their times, whatever the pace is: drawn scenes, of which the model learnt, have
/// ten frames a second.
const STAMPS: &str = "--stamp-ms 100";
const KEYS: [&str; 10] = ["S1", "S2", "S3", "S4", "S5", "S6", "S7", "S8", "S9", "S10"];
const MIB: f64 = 1024.0 * 1024.0;

/// Flags of `bench streams`.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct StreamsArgs {
    /// Only these, such as S1,S4; nothing is written to benches/results then unless --out says so
    #[arg(long, value_delimiter = ',', value_parser = KEYS)]
    only: Vec<String>,
    /// Side of the model in pixels
    #[arg(long, default_value_t = 128)]
    side: u32,
    /// Channels of its first level; with the side, at most 20 ms a clip are wanted
    #[arg(long, default_value_t = 16)]
    base_width: u32,
    /// Frames of a stream where a rate is measured
    #[arg(long, default_value_t = 400)]
    frames: u32,
    /// Streams of S10
    #[arg(long, default_value_t = 50)]
    restarted: u32,
    /// Folder for the results [default: benches/results in the workspace]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// One run of the measurements.
struct Bench<'a> {
    lab: &'a Lab,
    args: &'a StreamsArgs,
    model: PathBuf,
    /// The forward pass of a lone clip, in milliseconds.
    forward_ms: f64,
}

/// Measures, writes the results and prints one line of JSON.
///
/// # Errors
/// When a program fails; a missed goal is a result, not an error.
pub(crate) fn run(workspace: &Workspace, args: &StreamsArgs) -> Result<ExitCode> {
    let lab = Lab::open(workspace)?;
    let size = NetworkSize { side: args.side, base_width: args.base_width };
    let model = lab.train("streamed", size, 1)?;
    let forward_ms = forward(&lab, &model)?;
    let bench = Bench { lab: &lab, args, model, forward_ms };
    let mut ratios = bench.ratios()?;
    ratios.retain(|ratio| wants(&args.only, &[ratio.key]));
    let results = Results {
        of: "Streams",
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

/// The median of a lone clip's forward pass, in milliseconds.
fn forward(lab: &Lab, model: &Path) -> Result<f64> {
    let bare = lab.bare(model, &["--scores-only", "--batch-sizes", "1"])?;
    Ok(bare.lone()?.median_ms)
}

/// What one server computed between two looks at its metrics.
struct Computed {
    before: f64,
    metrics: String,
}

impl Computed {
    fn from_here(served: &Served) -> Result<Self> {
        let metrics = served.metrics.clone();
        Ok(Self { before: Page::fetch(&metrics)?.sum("protoguard_clips_total"), metrics })
    }

    fn clips(&self) -> Result<f64> {
        Ok(Page::fetch(&self.metrics)?.sum("protoguard_clips_total") - self.before)
    }
}

impl Bench<'_> {
    fn wants(&self, keys: &[&str]) -> bool {
        wants(&self.args.only, keys)
    }

    fn ratios(&self) -> Result<Vec<Ratio>> {
        let mut ratios = Vec::new();
        if self.wants(&["S1"]) {
            ratios.push(self.lone_camera()?);
        }
        if self.wants(&["S2", "S3"]) {
            ratios.extend(self.files()?);
        }
        if self.wants(&["S4"]) {
            ratios.push(self.many()?);
        }
        if self.wants(&["S5", "S6"]) {
            ratios.extend(self.deaf()?);
        }
        if self.wants(&["S7", "S8", "S9"]) {
            ratios.extend(self.overload()?);
        }
        if self.wants(&["S10"]) {
            ratios.push(restarts::measure(self)?);
        }
        Ok(ratios)
    }

    fn stream(&self, served: &Served, flags: &str) -> Result<StreamReport> {
        let flags = format!("{STAMPS} {flags}");
        self.lab.stream(served, &flags.split_whitespace().collect::<Vec<_>>())
    }

    /// S1: what a camera alone waits beyond the forward pass.
    fn lone_camera(&self) -> Result<Ratio> {
        eprintln!("\n== S1: a lone camera");
        let served = self.lab.serve(&self.model, &[])?;
        let report = self.stream(&served, "--streams 1 --frames 150 --interval-ms 100")?;
        drop(served);
        let after = forward(self.lab, &self.model)?;
        let forward = f64::midpoint(self.forward_ms, after);
        let p50 = report.scored()?.p50;
        Ok(Ratio {
            key: "S1",
            what: "frame in to score out, one camera: p50 − p50 bare forward",
            unit: "ms",
            goal: Goal::AtMost(4.0),
            value: p50 - forward,
            method: "150 JPEG frames, 10 a second, against the mean of the bare medians before and \
                     after",
            details: json!({ "scored_p50_ms": p50, "bare_before_ms": self.forward_ms,
                "bare_after_ms": after }),
        })
    }

    /// S2, the rate of streams against that of clips, and S3, their bytes.
    fn files(&self) -> Result<Vec<Ratio>> {
        eprintln!("\n== S2, S3: files");
        let served = self.lab.serve(&self.model, &[])?;
        let load = ["--clients", "16", "--payload", "jpeg", "--window-ms", "3000"];
        let before = self.lab.load(&served, &load)?.clips_per_second;
        let frames = self.args.frames;
        let report =
            self.stream(&served, &format!("--streams 4 --mode lossless --frames {frames}"))?;
        let after = self.lab.load(&served, &load)?.clips_per_second;
        let clips = f64::midpoint(before, after);
        let bytes = report.bytes_per_scored_frame.context("no frame was scored")?;
        let details = json!({ "clips_per_second_before": before,
            "clips_per_second_after": after, "streams": report });
        Ok(vec![
            Ratio {
                key: "S2",
                what: "rate of four lossless streams ÷ saturated rate of clips",
                unit: "",
                goal: Goal::AtLeast(0.9),
                value: report.scored_per_second / clips,
                method: "JPEG frames either way, against sixteen callers before and after",
                details: details.clone(),
            },
            Ratio {
                key: "S3",
                what: "bytes of a scored frame ÷ bytes of a call of its own",
                unit: "",
                goal: Goal::AtMost(0.21),
                value: bytes / report.bytes_per_call,
                method: "messages both ways with gRPC's prefix, of the same JPEG pictures",
                details,
            },
        ])
    }

    /// S4: many slow cameras.
    fn many(&self) -> Result<Ratio> {
        eprintln!("\n== S4: 200 cameras of a frame a second");
        let served = self.lab.serve(&self.model, &[])?;
        let report =
            self.stream(&served, "--streams 200 --connections 4 --frames 30 --interval-ms 1000")?;
        Ok(Ratio {
            key: "S4",
            what: "frames of 200 cameras that are lost or answered out of order",
            unit: "",
            goal: Goal::AtMost(0.0),
            value: (report.lost + report.misordered) as f64,
            method: "30 frames each, one a second, over four connections",
            details: json!(report),
        })
    }

    /// S5 and S6: cameras that do not read, for memory and for those on the same connection.
    fn deaf(&self) -> Result<Vec<Ratio>> {
        eprintln!("\n== S5, S6: readers that stop for a minute");
        // All cameras together ask for half of what the server can do.
        let interval = (16.0 * self.forward_ms).ceil().max(100.0);
        let frames = (60_000.0 / interval).ceil();
        let flags = format!("--connections 1 --frames {frames} --interval-ms {interval}");
        let served = self.lab.serve(&self.model, &[])?;
        let heard = self.stream(&served, &format!("--streams 8 {flags}"))?;
        let before = resident_bytes(served.server.pid());
        let beside = self.stream(&served, &format!("--streams 4 --deaf 4 {flags}"))?;
        let grown = resident_bytes(served.server.pid()).saturating_sub(before);
        let p99 = |report: &StreamReport| report.scored().map(|scored| scored.p99);
        let details = json!({ "all_read": heard, "half_read": beside, "resident_before": before });
        Ok(vec![
            Ratio {
                key: "S5",
                what: "memory that readers which stop for a minute make the server hold",
                unit: "MiB",
                goal: Goal::AtMost(8.0),
                value: grown as f64 / MIB,
                method: "resident memory after a minute with four such cameras, less that after a \
                         minute without",
                details: details.clone(),
            },
            Ratio {
                key: "S6",
                what: "p99 of those beside them on their connection ÷ p99 where all read",
                unit: "",
                goal: Goal::AtMost(1.1),
                value: p99(&beside)? / p99(&heard)?,
                method: "four cameras beside four that do not read, against eight that do",
                details,
            },
        ])
    }

    /// S7 to S9: twice as many frames as there is time for.
    fn overload(&self) -> Result<Vec<Ratio>> {
        eprintln!("\n== S7, S8, S9: twice what the server can do");
        let served = self.lab.serve(&self.model, &[])?;
        let load = ["--clients", "16", "--payload", "jpeg", "--window-ms", "3000"];
        let clips = self.lab.load(&served, &load)?.clips_per_second;
        let interval = 200.0;
        let streams = (2.0 * clips * interval / 1000.0).round().max(1.0);
        let computed = Computed::from_here(&served)?;
        let flags = format!("--streams {streams} --frames 150 --interval-ms {interval}");
        let report = self.stream(&served, &flags)?;
        let computed = computed.clips()?;
        let in_windows = report.frames("scored") + report.frames("skipped");
        let expected = report.sent - report.frames("warming_up");
        let scored = report.frames("scored") as f64;
        let details = json!({ "clips_per_second": clips, "streams": streams,
            "interval_ms": interval, "computed": computed, "report": report });
        Ok(vec![
            Ratio {
                key: "S7",
                what: "frames of cameras under twice the load that are in no window",
                unit: "",
                goal: Goal::AtMost(0.0),
                value: expected.abs_diff(in_windows) as f64,
                method: "five frames a second of as many cameras as need twice the saturated rate",
                details: details.clone(),
            },
            Ratio {
                key: "S8",
                what: "share of forward passes whose scores nobody gets",
                unit: "",
                goal: Goal::AtMost(0.01),
                value: (computed - scored).max(0.0) / computed,
                method: "the server's count of computed clips against scored frames",
                details: details.clone(),
            },
            Ratio {
                key: "S9",
                what: "p99 from a scored frame to its answer, in intervals",
                unit: "",
                goal: Goal::AtMost(2.0),
                value: report.scored()?.p99 / interval,
                method: "as the cameras see it",
                details,
            },
        ])
    }
}
