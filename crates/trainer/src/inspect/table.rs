//! The report for a terminal.

use std::fmt::{self, Display, Formatter};

use protoguard_core::FrameInterval;
use protoguard_datasets::{HalfSurvey, Survey, VideoSurvey};
use protoguard_frames::pace::apart;

/// Prints a survey as plain text: a table a half, the sums, then one line for each oddity.
#[derive(Clone, Copy, Debug)]
pub struct SurveyTable<'a>(pub &'a Survey);

impl Display for SurveyTable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let survey = self.0;
        let read = if survey.decoded { "every frame decoded" } else { "sizes from heads of files" };
        writeln!(f, "{}: layout {}, {read}", survey.root.display(), survey.layout)?;
        survey.halves.iter().try_for_each(|half| write_half(f, half))?;
        writeln!(f)?;
        for half in &survey.halves {
            write!(f, "{}: {} videos, {} frames", half.name, half.videos.len(), half.frames())?;
            writeln!(f, "{}", half.frame_intervals().map_or_else(String::new, intervals))?;
        }
        match &survey.labels {
            Some(labels) => writeln!(
                f,
                "labels: {}: {} frames, {} abnormal ({:.1} %)",
                labels.source,
                labels.frames,
                labels.abnormal,
                100.0 * labels.abnormal as f64 / labels.frames.max(1) as f64
            )?,
            None => writeln!(f, "labels: none")?,
        }
        for oddity in &survey.oddities {
            let kind = if oddity.problem { "problem" } else { "note" };
            writeln!(f, "{kind}: {}", oddity.message)?;
        }
        Ok(())
    }
}

fn intervals([shortest, longest]: [FrameInterval; 2]) -> String {
    if longest.suits(shortest) {
        format!(", {}", apart(shortest))
    } else {
        format!(", {} to {}", apart(shortest), apart(longest))
    }
}

fn write_half(f: &mut Formatter<'_>, half: &HalfSurvey) -> fmt::Result {
    let width = half.videos.iter().map(|video| video.name.chars().count()).max().unwrap_or(0);
    let width = width.max("video".len());
    writeln!(
        f,
        "\n{}\n{:<width$} {:>6} {:>8} {:>11} {:>7} {:>9}  format",
        half.name, "video", "scene", "frames", "h x w", "fps", "abnormal"
    )?;
    half.videos.iter().try_for_each(|video| {
        writeln!(
            f,
            "{:<width$} {:>6} {:>8} {:>11} {:>7} {:>9}  {}",
            video.name,
            video.scene.as_deref().unwrap_or("-"),
            video.frames,
            size(video),
            video.fps.map_or("-".to_owned(), |fps| format!("{fps:.2}")),
            video.abnormal.map_or("-".to_owned(), |abnormal| abnormal.to_string()),
            if video.format.is_empty() { "-" } else { &video.format },
        )
    })
}

fn size(video: &VideoSurvey) -> String {
    match (video.height, video.width) {
        (Some(height), Some(width)) => format!("{height}x{width}"),
        _ => "-".to_owned(),
    }
}
