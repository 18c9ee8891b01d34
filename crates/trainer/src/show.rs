//! The `show` command: what a checkpoint says of itself.

use std::fmt::{self, Write};

use protoguard_checkpoint::{Checkpoint, Dtype};
use protoguard_core::Calibration;
use protoguard_frames::pace::apart;
use serde_json::{Value, json};

use crate::cli::ShowArgs;
use crate::export::weight_bytes;

/// Prints the metadata, for a person or as JSON.
///
/// # Errors
/// When the checkpoint cannot be read.
pub fn run(args: &ShowArgs) -> anyhow::Result<()> {
    let checkpoint = Checkpoint::read(&args.checkpoint)?;
    #[allow(clippy::print_stdout, reason = "what the caller asked for")]
    if args.json {
        println!("{}", serde_json::to_string_pretty(&to_json(&checkpoint)?)?);
    } else {
        print!("{}", Summary(&checkpoint));
    }
    Ok(())
}

/// Everything but the tensors.
///
/// # Errors
/// When a part cannot be written as JSON.
pub fn to_json(checkpoint: &Checkpoint) -> serde_json::Result<Value> {
    let content = checkpoint.content();
    Ok(json!({
        "version": checkpoint.version(),
        "content_hash": checkpoint.content_hash(),
        "model": serde_json::to_value(&content.model)?,
        "preprocessing": serde_json::to_value(&content.preprocessing)?,
        "training": serde_json::to_value(&content.training)?,
        "activation_ranges": serde_json::to_value(content.activation_ranges.by_layer())?,
        "calibrations": serde_json::to_value(&content.calibrations)?,
        "golden": content.golden.as_ref().map(|golden| golden.scores()),
        "tensors": content.tensors.len(),
        "parameters": parameters(checkpoint),
        "weights": weights(checkpoint),
        "weight_bytes": weight_bytes(content),
        "optimizer_state": !content.optimizer.is_empty(),
    }))
}

/// A page for a person.
#[derive(Debug)]
pub struct Summary<'a>(pub &'a Checkpoint);

impl fmt::Display for Summary<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for row in self.network().into_iter().chain(self.training()) {
            writeln!(f, "{:<18} {}", row.name, row.value)?;
        }
        Ok(())
    }
}

struct SummaryRow {
    name: String,
    value: String,
}

fn row(name: &str, value: impl Into<String>) -> SummaryRow {
    SummaryRow { name: name.to_owned(), value: value.into() }
}

impl Summary<'_> {
    /// What it is.
    fn network(&self) -> Vec<SummaryRow> {
        let content = self.0.content();
        let model = &content.model;
        let (past, side) = (model.shape.past_frames(), model.shape.side());
        let memory = model.memory.as_ref();
        let memory = memory.map_or("none".to_owned(), |m| format!("{} items", m.items));
        let (width, motion) = (model.base_width, on(model.motion_branch));
        let mib = weight_bytes(content) as f64 / f64::from(1 << 20);
        let (count, kind) = (parameters(self.0), weights(self.0));
        let moments = if content.optimizer.is_empty() { "no" } else { "yes" };
        vec![
            row("version", self.0.version()),
            row("content hash", self.0.content_hash()),
            row("clip", format!("{past} past frames of {side}x{side}")),
            row("frames", content.training.frame_interval.map_or("unknown".to_owned(), apart)),
            row("network", format!("base width {width}, memory {memory}, motion branch {motion}")),
            row("weights", format!("{count} parameters, {kind}, {mib:.1} MiB")),
            row("optimiser state", moments),
            row("resizer", &content.preprocessing.resizer),
        ]
    }

    /// How it came to be, and how it judges.
    fn training(&self) -> Vec<SummaryRow> {
        let content = self.0.content();
        let training = &content.training;
        let mut rows = vec![
            row("trained on", &training.data),
            row("epochs, seed", format!("{}, {}", training.epochs, training.seed)),
        ];
        rows.extend(training.metrics.iter().map(|(name, value)| row(name, format!("{value:.4}"))));
        rows.extend(training.memory_health.iter().map(|health| {
            let (items, perplexity) = (health.items_in_use, health.perplexity);
            row("memory", format!("{items} items in use, perplexity {perplexity:.1}"))
        }));
        rows.extend(training.versions.iter().map(|(name, version)| row(name, version)));
        rows.extend(content.calibrations.iter().map(|c| row("calibration", describe(c))));
        let golden = content.golden.as_ref().map(|golden| golden.scores().psnr.0);
        let golden = golden.map_or("none".to_owned(), |psnr| format!("{psnr:.3} dB"));
        rows.push(row("golden clip", golden));
        let ranges = content.activation_ranges.by_layer().len();
        let ranges =
            if ranges == 0 { "none, so no int8".to_owned() } else { format!("of {ranges} layers") };
        rows.push(row("activation ranges", ranges));
        rows
    }
}

fn on(switch: bool) -> &'static str {
    if switch { "on" } else { "off" }
}

fn describe(calibration: &Calibration) -> String {
    let mut text = format!("{}: {} normal frames", calibration.id, calibration.frames);
    for threshold in &calibration.thresholds {
        let percent = 100.0 * threshold.false_alarm_rate;
        let _ = write!(text, ", {percent} % false alarms below {:.3}", threshold.regularity.0);
    }
    text
}

/// Trained numbers: what BatchNorm and the memory keep is left out.
fn parameters(checkpoint: &Checkpoint) -> usize {
    let trained = |name: &str| !name.contains(".running_") && !name.starts_with("memory.");
    let tensors = checkpoint.content().tensors.iter();
    tensors
        .filter(|(name, _)| trained(name))
        .map(|(_, array)| array.shape().iter().product::<usize>())
        .sum()
}

fn weights(checkpoint: &Checkpoint) -> String {
    let half = checkpoint.content().tensors.values().any(|array| array.dtype() == Dtype::F16);
    if half { "f16" } else { "f32" }.to_owned()
}
