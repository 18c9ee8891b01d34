//! The forward pass of ours beside the frameworks that teams would use instead: same weights, same
//! clips, same machine, turn by turn in one run.
//!
//! `protoguard-server bare` writes a clip and its results; every peer must find the same before it
//! is timed. A round measures every implementation once at every batch size with and without
//! pictures; the median of a round counts, and the median over the rounds.

mod results;
mod triton;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use serde::Serialize;

use super::lab::{Lab, NetworkSize};
use super::loads::Bare;
use super::machine::{Machine, today};
use super::peers::{self, Peer, Question};
use super::training;
use protoguard_launch::workspace::Workspace;
use results::{Cells, Results, Times};

/// Flags of `bench model`.
#[derive(Clone, Debug, clap::Args, Serialize)]
pub(crate) struct ModelArgs {
    /// Height and width of frames
    #[arg(long, default_value_t = 256)]
    side: u32,
    /// Channels of the first level
    #[arg(long, default_value_t = 64)]
    base_width: u32,
    /// Clips at a time
    #[arg(long, value_delimiter = ',', default_values_t = [1, 4])]
    batch_sizes: Vec<u32>,
    /// Rounds over all implementations
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Timed passes of an implementation in a round, of each kind
    #[arg(long, default_value_t = 3)]
    repetitions: u32,
    /// Only these of the peers [default: all]
    #[arg(long, value_delimiter = ',', value_parser = PEERS)]
    peers: Vec<String>,
    /// Rounds of training steps beside PyTorch's; 0 leaves them out
    #[arg(long, default_value_t = 1)]
    training_rounds: u32,
    /// Rounds of serving beside Triton; 0 leaves them out
    #[arg(long, default_value_t = 2)]
    triton_rounds: u32,
    /// Folder for the results [default: benches/results in the workspace]
    #[arg(long)]
    out: Option<PathBuf>,
}

/// As benches/peers/forward.py knows them.
const PEERS: [&str; 9] = [
    "pytorch_f32",
    "pytorch_f32_channels_last",
    "pytorch_bf16_autocast",
    "pytorch_bf16_folded",
    "inductor_f32",
    "inductor_bf16",
    "onnxruntime_f32",
    "openvino_f32",
    "openvino_bf16",
];

/// Those that compute batches of any size without being built anew, as a server must.
const EAGER: [&str; 3] = ["pytorch_bf16_folded", "pytorch_f32_channels_last", "pytorch_f32"];

/// Ours by precision: their name here and the server's.
const OURS: [(&str, &str); 3] =
    [("protoguard_f32", "f32"), ("protoguard_bf16", "bf16"), ("protoguard_int8", "int8")];

/// Measures, writes the results and prints one line of JSON.
///
/// # Errors
/// When a program fails or a peer disagrees; a missed goal is a result, not an error.
pub(crate) fn run(workspace: &Workspace, args: &ModelArgs) -> Result<ExitCode> {
    let lab = Lab::open(workspace)?;
    let python = peers::python(workspace)?;
    let size = NetworkSize { side: args.side, base_width: args.base_width };
    let checkpoint = lab.train("measured", size, 1)?;
    let bench = Bench { workspace, lab: &lab, args, python: &python, checkpoint: &checkpoint };
    let mut results = Results {
        date: today()?,
        machine: Machine::describe(workspace),
        settings: serde_json::to_value(args)?,
        times: bench.times()?,
        training_step_vs_pytorch: None,
        triton_with: EAGER[0],
        served: Vec::new(),
    };
    let default = workspace.root().join("benches/results");
    let folder = args.out.as_deref().unwrap_or(&default);
    // What took minutes is kept if what comes after it fails.
    results.write(folder)?;
    if args.training_rounds > 0 {
        let rounds = args.training_rounds;
        let ratio = training::step_against_pytorch(workspace, &lab, &python, rounds)?;
        results.training_step_vs_pytorch = Some(ratio);
        results.write(folder)?;
    }
    results.triton_with = results.times.fastest_eager();
    results.served = bench.beside_triton(results.triton_with)?;
    let json = results.write(folder)?;
    let mut plot = peers::script(workspace, &python, "plot.py");
    lab.run(plot.arg(&json))?;
    eprintln!("\n{}", results.markdown());
    println!("{}", serde_json::to_string(&results.line())?);
    Ok(ExitCode::SUCCESS)
}

struct Bench<'a> {
    workspace: &'a Workspace,
    lab: &'a Lab,
    args: &'a ModelArgs,
    python: &'a Path,
    checkpoint: &'a Path,
}

impl Bench<'_> {
    /// Of what this processor computes: the server says which precisions it does.
    fn times(&self) -> Result<Times> {
        let case = self.lab.at("case.safetensors");
        let found = self.bare("f32", &["--repetitions", "1", "--case", &case.to_string_lossy()])?;
        let computes = |precision: &str| found.precisions.iter().any(|it| it == precision);
        let ours = OURS.into_iter().filter(|(_, precision)| computes(precision));
        let ours: Vec<(&str, &str)> = ours.collect();
        let bf16 = computes("bf16");
        if !bf16 {
            eprintln!(
                "== bf16 is left out, ours and the peers': this processor does not compute it"
            );
        }
        let is_computed = |name: &&str| bf16 || !name.contains("bf16");
        let mut peers = Vec::new();
        for name in PEERS.into_iter().filter(|name| self.wants(name)).filter(is_computed) {
            let mut command = peers::script(self.workspace, self.python, "forward.py");
            command.arg(name).arg(self.checkpoint).arg(&case);
            command.env("TORCHINDUCTOR_CACHE_DIR", self.lab.at("inductor"));
            peers.push((name, Peer::start(name, command, self.lab.children())?));
        }
        for (name, peer) in &mut peers {
            eprintln!("== building {name}, and comparing its results with ours");
            self.ask(peer, 0)?;
        }
        let mut times = Times::default();
        for round in 0..self.args.rounds {
            eprintln!("== round {} of {}", round + 1, self.args.rounds);
            for &(name, precision) in &ours {
                times.add(name, cells(self.bare(precision, &[])?)?)?;
            }
            for (name, peer) in &mut peers {
                times.add(name, self.ask(peer, self.args.repetitions)?)?;
            }
        }
        Ok(times)
    }

    fn wants(&self, peer: &str) -> bool {
        self.args.peers.is_empty() || self.args.peers.iter().any(|name| name == peer)
    }

    fn ask(&self, peer: &mut Peer, repetitions: u32) -> Result<Cells> {
        let mut cells = Cells::new();
        for full in [false, true] {
            for &batch in &self.args.batch_sizes {
                let question = Question { full, batch };
                cells.insert(question, peer.ask(question, repetitions)?);
            }
        }
        Ok(cells)
    }

    /// The server's own binary and settings: one worker with every core.
    fn bare(&self, precision: &str, more: &[&str]) -> Result<Bare> {
        let sizes: Vec<String> = self.args.batch_sizes.iter().map(u32::to_string).collect();
        let (sizes, repetitions) = (sizes.join(","), self.args.repetitions.to_string());
        let settings = ["--precision", precision, "--batch-sizes", &sizes];
        let repeated = ["--repetitions", &repetitions, "--warm-up", "1"];
        // What comes last counts.
        let all = if more.is_empty() { repeated.to_vec() } else { more.to_vec() };
        self.lab.bare(self.checkpoint, &[&settings[..], &all].concat())
    }
}

fn cells(Bare { scores, full, .. }: Bare) -> Result<Cells> {
    let of = |full: bool, measured: Vec<super::loads::BareBatch>| {
        measured.into_iter().map(move |cell| {
            (Question { full, batch: cell.batch_size }, vec![cell.median_ms / 1e3])
        })
    };
    let cells: Cells = of(false, scores).chain(of(true, full)).collect();
    cells.first_key_value().context("the bare model measured nothing")?;
    Ok(cells)
}
