//! What the client found, for people and for programs.

use std::fs;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

/// The result of one seed.
#[derive(Clone, Debug)]
pub(super) struct Report {
    seed: u32,
    summary: Summary,
    whole: Duration,
    training: Duration,
    peak_bytes: u64,
}

/// The last line of the client's JSON lines.
#[derive(Clone, Debug, Deserialize)]
struct LastLine {
    summary: Summary,
}

#[derive(Clone, Debug, Deserialize)]
struct Summary {
    clips_scored: u64,
    clips_per_second: f64,
    p50_ms: f64,
    p95_ms: f64,
    auc: Option<Aucs>,
    at_threshold: Option<Rates>,
    auc_unavailable: Option<String>,
}

/// All scored frames of all videos together; all but `served` normalised by video.
#[derive(Clone, Debug, Deserialize)]
struct Aucs {
    served: Option<f64>,
    video: f64,
    psnr: f64,
    feature_distance: Option<f64>,
    copy_frame: Option<f64>,
    normal_frames: u64,
    abnormal_frames: u64,
}

/// What the served score's threshold finds, as shares.
#[derive(Clone, Copy, Debug, Deserialize)]
struct Rates {
    /// Of the abnormal frames.
    true_positive_rate: f64,
    /// Of the normal frames.
    false_positive_rate: f64,
}

/// What a program reads of the demo.
#[derive(Serialize)]
struct Line {
    #[serde(skip_serializing_if = "Option::is_none")]
    seed: Option<u32>,
    /// By each video's extremes, as the literature has it.
    auc: f64,
    /// Of the served score, on one scale for all videos.
    auc_served: Option<f64>,
    /// Of the served score at its threshold.
    tpr: Option<f64>,
    fpr: Option<f64>,
    auc_copy_frame: Option<f64>,
    clips_scored: u64,
    p50_ms: f64,
    p95_ms: f64,
    seconds: f64,
}

impl Report {
    /// Reads the summary of a scores file.
    ///
    /// # Errors
    /// When there is none, or it has no AUC.
    pub(super) fn read(scores: &Path, seed: u32) -> Result<Self> {
        let text =
            fs::read_to_string(scores).with_context(|| format!("reading {}", scores.display()))?;
        Self::parse(&text, seed).with_context(|| format!("in {}", scores.display()))
    }

    fn parse(text: &str, seed: u32) -> Result<Self> {
        let last = text.lines().last().context("there is not one line")?;
        let LastLine { summary } =
            serde_json::from_str(last).context("the last line is no summary")?;
        if summary.auc.is_none() {
            let reason = summary.auc_unavailable.as_deref().unwrap_or("there are no labels");
            anyhow::bail!("no AUC: {reason}");
        }
        let (whole, training) = (Duration::ZERO, Duration::ZERO);
        Ok(Self { seed, summary, whole, training, peak_bytes: 0 })
    }

    /// The same result with what it took.
    pub(super) fn with_times(self, whole: Duration, training: Duration, peak_bytes: u64) -> Self {
        Self { whole, training, peak_bytes, ..self }
    }

    /// Prints the result for people; `place` is where the files will lie.
    pub(super) fn show(&self, place: &Path) {
        let Some(auc) = &self.summary.auc else { return };
        let (frames, abnormal) = (auc.normal_frames + auc.abnormal_frames, auc.abnormal_frames);
        let row = |name: &str, value: Option<f64>| {
            let value = value.map_or_else(|| "-".to_owned(), |value| format!("{value:.4}"));
            eprintln!("  {name:<52} {value}");
        };
        eprintln!(
            "\nseed {}: frame-level AUC over {frames} frames, {abnormal} of them abnormal",
            self.seed
        );
        row("PSNR and feature distance, by each video's extremes", Some(auc.video));
        row("PSNR alone", Some(auc.psnr));
        row("feature distance alone", auc.feature_distance);
        row("baseline that predicts no motion (copy-frame)", auc.copy_frame);
        row("as served: no look at the future, one scale for all", auc.served);
        if let Some(rates) = &self.summary.at_threshold {
            row("found of the abnormal frames at its threshold", Some(rates.true_positive_rate));
            row("false alarms on normal frames there", Some(rates.false_positive_rate));
        }
        let summary = &self.summary;
        eprintln!(
            "{} clips over gRPC at {:.0} a second, latency p50 {:.1} ms, p95 {:.1} ms",
            summary.clips_scored, summary.clips_per_second, summary.p50_ms, summary.p95_ms
        );
        let mebibytes = self.peak_bytes / (1 << 20);
        eprintln!("training took {:.0} s and at most {mebibytes} MiB", self.training.as_secs_f64());
        eprintln!("score curve with ground truth: {}", place.join("curve.png").display());
        eprintln!("most anomalous frames:         {}", place.join("worst").display());
    }

    /// The result for programs, as one line.
    ///
    /// # Errors
    /// When a number is not finite.
    pub(super) fn json(&self, with_seed: bool) -> Result<String> {
        let auc = self.summary.auc.as_ref().context("there is no AUC")?;
        let rates = self.summary.at_threshold;
        let line = Line {
            seed: with_seed.then_some(self.seed),
            auc: rounded(auc.video, 4),
            auc_served: auc.served.map(|auc| rounded(auc, 4)),
            tpr: rates.map(|rates| rounded(rates.true_positive_rate, 4)),
            fpr: rates.map(|rates| rounded(rates.false_positive_rate, 4)),
            auc_copy_frame: auc.copy_frame.map(|auc| rounded(auc, 4)),
            clips_scored: self.summary.clips_scored,
            p50_ms: rounded(self.summary.p50_ms, 2),
            p95_ms: rounded(self.summary.p95_ms, 2),
            seconds: rounded(self.whole.as_secs_f64(), 1),
        };
        Ok(serde_json::to_string(&line)?)
    }
}

fn rounded(value: f64, digits: i32) -> f64 {
    let scale = 10_f64.powi(digits);
    (value * scale).round() / scale
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCORES: &str = r#"{"video":"01","frame":4,"psnr_db":30.0}
{"summary":{"model":"m","videos":1,"clips_scored":196,"clips_per_second":90.5,"p50_ms":10.123,"p95_ms":20.456,"auc":{"served":0.9,"video":0.95123456,"psnr":0.93,"feature_distance":null,"copy_frame":0.81,"normal_frames":100,"abnormal_frames":96},"at_threshold":{"true_positive_rate":0.84375,"false_positive_rate":0.01},"auc_unavailable":null}}
"#;

    #[test]
    fn one_line_has_the_promised_keys() {
        let report = Report::parse(SCORES, 7).unwrap();
        let report = report.with_times(Duration::from_millis(61_240), Duration::ZERO, 0);
        assert_eq!(
            report.json(false).unwrap(),
            r#"{"auc":0.9512,"auc_served":0.9,"tpr":0.8438,"fpr":0.01,"auc_copy_frame":0.81,"clips_scored":196,"p50_ms":10.12,"p95_ms":20.46,"seconds":61.2}"#
        );
        assert!(report.json(true).unwrap().starts_with(r#"{"seed":7,"auc":"#));
    }

    #[test]
    fn a_file_without_summary_is_refused() {
        let cut = SCORES.lines().next().unwrap();
        assert_eq!(Report::parse(cut, 0).unwrap_err().to_string(), "the last line is no summary");
        assert_eq!(Report::parse("", 0).unwrap_err().to_string(), "there is not one line");
    }

    #[test]
    fn a_summary_without_auc_says_why() {
        let (before, after) =
            (SCORES.find(r#""auc":{"#).unwrap(), SCORES.find("},\"at_thr").unwrap());
        let none = format!("{}\"auc\":null{}", &SCORES[..before], &SCORES[after + 1..]);
        let none =
            none.replace(r#""auc_unavailable":null"#, r#""auc_unavailable":"all are normal""#);
        assert_eq!(Report::parse(&none, 0).unwrap_err().to_string(), "no AUC: all are normal");
    }
}
