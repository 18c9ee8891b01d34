//! The `show` command: what a checkpoint says of itself.

use std::fmt::{self, Write};

use protoguard_core::Calibration;
use protoguard_model::Checkpoint;
use protoguard_model::checkpoint::Dtype;
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
        let content = self.0.content();
        let (model, training) = (&content.model, &content.training);
        let mut line = |name: &str, value: String| writeln!(f, "{name:<18} {value}");
        line("version", self.0.version().to_owned())?;
        line("content hash", self.0.content_hash().to_owned())?;
        let shape = model.shape;
        line(
            "clip",
            format!("{} past frames of {side}x{side}", shape.past_frames(), side = shape.side()),
        )?;
        let memory =
            model.memory.as_ref().map_or("none".to_owned(), |m| format!("{} items", m.items));
        line(
            "network",
            format!(
                "base width {}, memory {memory}, motion branch {}",
                model.base_width,
                on(model.motion_branch)
            ),
        )?;
        let mib = weight_bytes(content) as f64 / f64::from(1 << 20);
        line(
            "weights",
            format!("{} parameters, {}, {mib:.1} MiB", parameters(self.0), weights(self.0)),
        )?;
        line(
            "optimiser state",
            if content.optimizer.is_empty() { "no" } else { "yes" }.to_owned(),
        )?;
        line("resizer", content.preprocessing.resizer.clone())?;
        line("trained on", training.data.clone())?;
        line("epochs, seed", format!("{}, {}", training.epochs, training.seed))?;
        for (name, value) in &training.metrics {
            line(name, format!("{value:.4}"))?;
        }
        if let Some(health) = &training.memory_health {
            line(
                "memory",
                format!(
                    "{} items in use, perplexity {:.1}",
                    health.items_in_use, health.perplexity
                ),
            )?;
        }
        for (name, version) in &training.versions {
            line(name, version.clone())?;
        }
        for calibration in &content.calibrations {
            line("calibration", describe(calibration))?;
        }
        let golden = content.golden.as_ref().map(|golden| golden.scores());
        line(
            "golden clip",
            golden.map_or("none".to_owned(), |scores| format!("{:.3} dB", scores.psnr.0)),
        )
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
