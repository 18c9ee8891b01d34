//! `cargo xtask demo`: the main job from end to end, on video drawn on the spot.
//!
//! ```text
//! synth -> train -> serve -> score over gRPC -> demo/{scores.jsonl, curve.png, worst/}
//! ```
//!
//! The real programs do the work, as a user would call them; this module only starts them. A run
//! works in a fresh folder and takes the place of the last one when it has succeeded, so a failed
//! or interrupted run leaves the last results as they were.

mod folder;
mod report;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result};
use folder::DemoFolder;
use report::Report;

use crate::setup;
use protoguard_launch::process::Children;
use protoguard_launch::programs::Programs;
use protoguard_launch::server::Server;
use protoguard_launch::workspace::Workspace;

/// Flags of `demo`.
#[derive(Clone, Copy, Debug, clap::Args)]
pub(crate) struct DemoArgs {
    /// Seeds the scenes and the training
    #[arg(long, default_value_t = 1)]
    seed: u32,
    /// Runs so many seeds, from --seed on
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=100))]
    seeds: u32,
}

/// Runs the demo and prints one line of JSON a seed on standard output.
///
/// # Errors
/// When a program fails, or this command is told to stop; children are ended first.
pub(crate) fn run(workspace: &Workspace, args: &DemoArgs) -> Result<()> {
    let mut started = Instant::now();
    setup::run(workspace, None)?;
    let children = Children::watch()?;
    let programs = Programs::build(workspace, &children)?;
    let folder = DemoFolder::open(workspace.root())?;
    let mut reports = Vec::new();
    for seed in args.seed..args.seed.saturating_add(args.seeds) {
        let name = if args.seeds == 1 { String::new() } else { format!("seed-{seed}") };
        let run = SeedRun {
            programs: &programs,
            children: &children,
            folder: folder.work().join(&name),
            seed,
        };
        let words = || format!("seed {seed}, of which nothing is kept: the next demo begins anew");
        let report = run.run(started).with_context(words)?;
        report.show(&folder.place().join(&name));
        reports.push(report);
        started = Instant::now();
    }
    folder.publish()?;
    for report in &reports {
        println!("{}", report.json(args.seeds > 1)?);
    }
    Ok(())
}

/// One pass of the whole chain.
struct SeedRun<'a> {
    programs: &'a Programs,
    children: &'a Arc<Children>,
    folder: PathBuf,
    seed: u32,
}

impl SeedRun<'_> {
    fn run(&self, started: Instant) -> Result<Report> {
        let at = |name: &str| self.folder.join(name);
        let seed = self.seed.to_string();

        eprintln!("\n== drawing scenes, seed {seed}");
        let mut synth = self.programs.trainer();
        synth.arg("synth").arg("--out").arg(at("data")).args(["--seed", &seed]);
        synth.args(["--training-videos", "10"]);
        self.children.run(&mut synth)?;

        eprintln!("\n== training on the normal ones");
        let training = Instant::now();
        let mut train = self.programs.trainer();
        train.arg("train").arg("--data").arg(at("data")).arg("--out").arg(at("model.safetensors"));
        train.arg("--config").arg(self.programs.recipe()).args(["--seed", &seed]);
        let trained = self.children.run(&mut train)?;
        let training = training.elapsed();

        eprintln!("\n== serving, and scoring the test videos over gRPC");
        let mut server = Server::start(self.programs, self.children, &self.folder)?;
        let mut score = self.programs.client();
        score.arg("score").arg(at("data/testing/frames"));
        score.arg("--labels").arg(at("data/frame_labels.npy"));
        score.args(["--format", "jsonl", "--output"]).arg(at("scores.jsonl"));
        score.arg("--picture").arg(at("curve.png"));
        score.args(["--worst", "6", "--worst-dir"]).arg(at("worst"));
        score.args(["--address", server.address()]);
        let scored = self.children.run(&mut score);
        server.finish(scored.is_ok())?;
        scored?;

        Report::read(&at("scores.jsonl"), self.seed)
            .map(|report| report.with_times(started.elapsed(), training, trained.peak_bytes))
    }
}
