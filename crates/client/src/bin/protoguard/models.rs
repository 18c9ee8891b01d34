//! `protoguard models`.

use std::io::{self, Write};
use std::process::ExitCode;

use protoguard_client::Client;
use protoguard_core::{FrameInterval, Part};
use protoguard_frames::pace::apart;
use protoguard_proto::part_from_wire;
use protoguard_proto::v1::{Calibration, Detector, DetectorPart, Model};

use crate::arguments::ServerArguments;

/// Describes every loaded model, the default one marked.
pub(crate) async fn run(arguments: ServerArguments) -> anyhow::Result<ExitCode> {
    let client = Client::connect(&arguments.address, arguments.options()).await?;
    let listed = client.models().await?;
    let mut out = io::stdout().lock();
    for model in &listed.models {
        let mark = if model.name == listed.default_model { " (default)" } else { "" };
        writeln!(out, "{}@{}{mark}", model.name, model.version)?;
        for line in describe(model) {
            writeln!(out, "  {line}")?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn describe(model: &Model) -> Vec<String> {
    let motion = if model.motion_branch { "with" } else { "without" };
    let (past, side) = (model.past_frames, model.side);
    let interval = FrameInterval::try_from(model.frame_interval_ms).ok();
    let frames = interval.map(|it| format!(", frames {}", apart(it))).unwrap_or_default();
    let mut lines = vec![
        format!("clips: {past} past frames of {side}x{side} pixels{frames}"),
        format!(
            "network: width {}, {} memory items, {motion} motion branch, {} on {}",
            model.base_width, model.memory_items, model.precision, model.device
        ),
    ];
    if !model.training_data.is_empty() {
        lines.push(format!("trained on: {}", model.training_data));
    }
    lines.extend(model.calibrations.iter().flat_map(describe_calibration));
    lines.extend(model.metrics.iter().map(|(name, value)| format!("{name}: {value:.4}")));
    lines
}

fn describe_calibration(calibration: &Calibration) -> Vec<String> {
    let thresholds: Vec<String> = calibration
        .thresholds
        .iter()
        .map(|t| format!("{:.3} at {:.0} %", t.regularity, t.false_alarm_rate * 100.0))
        .collect();
    let (id, frames) = (&calibration.id, calibration.frames);
    let first = format!("calibration {id}: {frames} frames, thresholds {}", thresholds.join(", "));
    let detector = calibration.detector.as_ref();
    [first].into_iter().chain(detector.map(describe_detector)).collect()
}

fn describe_detector(detector: &Detector) -> String {
    let part = |of: &DetectorPart| {
        let name = part_from_wire(of.part()).map_or("an unknown part", Part::name);
        let counted = of.weight * of.trust;
        if counted == 1.0 { name.to_owned() } else { format!("{counted:.2} x {name}") }
    };
    let parts: Vec<String> = detector.parts.iter().map(part).collect();
    format!(
        "  alarm: sum of the surprises of {}, of which {:.0} % is kept from frame to frame",
        parts.join(" + "),
        detector.keep * 100.0
    )
}

#[cfg(test)]
mod tests {
    use protoguard_proto::v1;
    use protoguard_proto::v1::Threshold;

    use super::*;

    #[test]
    fn a_model_is_described_in_full() {
        let part = |part: v1::Part, weight| DetectorPart {
            part: part.into(),
            weight,
            trust: 1.0,
            ..Default::default()
        };
        let detector = Detector {
            parts: vec![part(v1::Part::RelativeError, 1.0), part(v1::Part::Speed, 0.5)],
            knee: 2.0,
            keep: 0.7,
            ..Default::default()
        };
        let calibration = Calibration {
            detector: Some(detector),
            id: "default".to_owned(),
            frames: 120,
            thresholds: vec![Threshold { false_alarm_rate: 0.01, regularity: 0.125 }],
            ..Default::default()
        };
        let model = Model {
            past_frames: 4,
            side: 64,
            base_width: 16,
            memory_items: 100,
            precision: "f32".to_owned(),
            device: "cpu".to_owned(),
            metrics: [("loss".to_owned(), 0.5)].into(),
            calibrations: vec![calibration],
            ..Default::default()
        };
        assert_eq!(
            describe(&model),
            [
                "clips: 4 past frames of 64x64 pixels",
                "network: width 16, 100 memory items, without motion branch, f32 on cpu",
                "calibration default: 120 frames, thresholds 0.125 at 1 %",
                "  alarm: sum of the surprises of relative_error + 0.50 x speed, of which 70 % is kept \
                 from frame to frame",
                "loss: 0.5000",
            ]
        );
        let timed = Model { frame_interval_ms: 40.0, ..model };
        let clips = "clips: 4 past frames of 64x64 pixels, frames 40 ms apart (25 a second)";
        assert_eq!(describe(&timed)[0], clips);
    }
}
