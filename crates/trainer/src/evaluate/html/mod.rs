//! The report as one HTML page that holds everything it shows: no script, nothing loaded from
//! elsewhere, readable on a phone, in the dark and on paper.
//!
//! Curves are inline SVG that stretches with the page; their labels are text beside them, so that
//! they keep their size. Pictures are JPEG within the page. Text from file names and
//! configurations is escaped by the template.

mod curves;
mod live;
mod numbers;
mod picture;
mod record;

use maud::{DOCTYPE, Markup, PreEscaped, html};
use protoguard_checkpoint::TrainingRecord;
use protoguard_core::normalise::Grouping;
use protoguard_frames::pace::apart;

use super::close_up::{CloseUp, CloseUps};
use super::measured::Measured;
use super::normalised::Signal;
use super::report::EvalReport;

const STYLE: &str = include_str!("style.css");

/// Everything that the page shows.
#[derive(Debug)]
pub struct Page<'a> {
    /// The numbers.
    pub report: &'a EvalReport,
    /// The scores behind them.
    pub measured: &'a Measured<'a>,
    /// Where the weights come from.
    pub training: &'a TrainingRecord,
    /// Single frames.
    pub close_ups: &'a CloseUps,
}

/// The signals in the order of the page, with their names there.
const SIGNALS: [(Signal, &str); 4] = [
    (Signal::Combined, "S"),
    (Signal::Psnr, "PSNR only"),
    (Signal::FeatureDistance, "DIST only"),
    (Signal::CopyFrame, "copy frame"),
];

impl Page<'_> {
    /// The whole page.
    pub fn render(&self) -> String {
        let subject = &self.report.subject;
        let title = format!("Protoguard: {} on {}", subject.model_version, subject.data);
        let page = html! {
            (DOCTYPE)
            html lang="en" {
                head {
                    meta charset="utf-8";
                    meta name="viewport" content="width=device-width, initial-scale=1";
                    meta name="color-scheme" content="light dark";
                    title { (title) }
                    style { (PreEscaped(STYLE)) }
                }
                body {
                    main {
                        (self.head())
                        (live::section(self))
                        (numbers::section(self.report, &self.figures()))
                        (curves::roc_section(self.measured))
                        (curves::videos_section(self))
                        (numbers::videos_section(self.report))
                        (self.pictures())
                        (record::memory_section(self.report.memory.as_ref(), self.training.memory_health.as_ref()))
                        (record::run_section(self.report, self.training))
                        (legend())
                    }
                }
            }
        };
        page.into_string()
    }

    fn head(&self) -> Markup {
        let subject = &self.report.subject;
        let share = 100.0 * subject.abnormal as f64 / subject.frames_scored.max(1) as f64;
        html! {
            header {
                h1 { "Evaluation of " code { (subject.model_version) } " on " (subject.data) }
                p.lead {
                    (subject.videos) " test videos, " (subject.frames_scored) " of "
                    (subject.frames) " frames scored, " (subject.abnormal) " abnormal ("
                    (format!("{share:.1}")) " %). The first frames of a video have no score: "
                    "there is nothing to predict them from."
                    @if let Some(interval) = subject.frame_interval { " Frames are " (apart(interval)) "." }
                }
                @for warning in &self.report.warnings {
                    p.warning { (warning) }
                }
            }
        }
    }

    /// What the literature reports.
    fn figures(&self) -> Markup {
        let auc = |grouping, signal| self.report.get(grouping, signal).map(|found| found.auc);
        let own = self.report.get(Grouping::Video, Signal::Combined);
        let cards = [
            ("AUC of S, by video", auc(Grouping::Video, Signal::Combined)),
            ("AUC of copying the last frame, by video", auc(Grouping::Video, Signal::CopyFrame)),
            ("AUC of S, calibrated", auc(Grouping::Calibrated, Signal::Combined)),
            ("macro AUC of S", own.and_then(|found| found.macro_auc).map(|mean| mean.auc)),
            ("average precision of S", own.map(|found| found.average_precision)),
            ("equal error rate of S", own.map(|found| found.equal_error_rate)),
        ];
        html! {
            dl.cards {
                @for (name, value) in cards {
                    div { dt { (name) } dd { (numbers::number(value)) } }
                }
            }
        }
    }

    fn pictures(&self) -> Markup {
        let group = |title: &str, text: &str, frames: &[CloseUp]| {
            html! {
                h3 { (title) }
                p.note { (text) }
                @if frames.is_empty() { p { "There are none." } }
                @for frame in frames { (picture::panel(frame, self.measured)) }
            }
        };
        let order = if self.report.live.alarm.is_some() {
            "Ordered by the smoothed surprise, which raises the alarm. The box lies around the largest error over motion."
        } else {
            "Ordered by the score S, min–max over the whole data set."
        };
        html! {
            section {
                h2 { "Frames worth a look" }
                (group("Most anomalous", order, &self.close_ups.anomalous))
                (group("False alarms", "Normal frames of the highest scores.", &self.close_ups.false_alarms))
                (group("Misses", "Abnormal frames of the lowest scores.", &self.close_ups.misses))
            }
        }
    }
}

fn legend() -> Markup {
    html! {
        section {
            h2 { "How to read it" }
            dl.terms {
                dt { "surprise" }
                dd { "How rare a frame is among normal ones of its camera: 1 is one in ten, 2 one in a hundred, 3 one in a thousand. It has no upper end." }
                dt { "part" }
                dd { "What the surprise is made of: the prediction’s error where it is largest, its share of what moved, the speed of what moves, and others that are shown for comparison." }
                dt { "event" }
                dd { "A run of abnormal frames. It is found when the alarm stands in it; an alarm that touches no event is false." }
                dt { "RBDC, TBDC" }
                dd { "Region- and track-based detection criterion: whether the alarm points at the marked place, by frame and by whole tracks. 1 is perfect." }
                dt { "PSNR" }
                dd { "How well a frame was predicted from those before it, in dB. Low is unusual." }
                dt { "DIST" }
                dd { "Distance of the scene's features to the nearest memory items, 0 to 2. High is unusual." }
                dt { "S" }
                dd { "Both together; here as an anomaly score, 1 for abnormal." }
                dt { "copy frame" }
                dd { "PSNR of predicting that nothing moves. A model has to beat it." }
                dt { "by video, scene, data set" }
                dd { "Scores scaled by the extremes of all frames of the group, which needs the whole recording: what the literature reports." }
                dt { "calibrated" }
                dd { "Scores scaled by bounds from held-out normal frames, as they can be computed live." }
                dt { "AUC" }
                dd { "Chance that an abnormal frame scores higher than a normal one. Micro: over all frames together; macro: mean over the videos that have both." }
            }
        }
    }
}
