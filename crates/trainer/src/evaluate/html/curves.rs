//! The ROC and the score of every video over its ground truth.

use std::fmt::Write as _;

use maud::{Markup, html};
use protoguard_core::metrics::{RocCurve, roc_auc};
use protoguard_core::normalise::Grouping;

use super::{Page, SIGNALS, numbers};
use crate::evaluate::measured::Measured;
use crate::evaluate::normalised::Signal;

/// Points that a curve keeps at most: more cannot be told apart on a screen.
const MOST_POINTS: usize = 500;

/// Side of the square in which the ROC is drawn, and the room around it for its labels.
const SQUARE: f64 = 300.0;
const LEFT: f64 = 58.0;
const TOP: f64 = 10.0;

/// The ROC of every signal, scaled by video.
pub(super) fn roc_section(measured: &Measured<'_>) -> Markup {
    let labels = measured.labels.concat();
    let curves: Vec<Roc> = SIGNALS
        .iter()
        .filter_map(|&(signal, name)| {
            let scores = measured.normalise(Grouping::Video, signal)?.videos.concat();
            let curve = RocCurve::new(&scores, &labels).ok()?;
            Some(Roc { signal, name, path: roc_path(&curve), auc: roc_auc(&scores, &labels).ok()? })
        })
        .collect();
    html! {
        section {
            h2 { "ROC" }
            p.note { "All frames together, scores scaled by video." }
            div.roc {
                (roc_picture(&curves))
                ul.legend {
                    @for curve in &curves {
                        li {
                            svg.key viewBox="0 0 28 8" aria-hidden="true" {
                                path class=(class(curve.signal)) d="M0 4H28" {}
                            }
                            (curve.name) " " b { (numbers::number(Some(curve.auc))) }
                        }
                    }
                }
            }
        }
    }
}

struct Roc {
    signal: Signal,
    name: &'static str,
    path: String,
    auc: f64,
}

fn class(signal: Signal) -> &'static str {
    match signal {
        Signal::Combined => "curve combined",
        Signal::Psnr => "curve psnr",
        Signal::FeatureDistance => "curve distance",
        Signal::CopyFrame => "curve baseline",
    }
}

fn roc_picture(curves: &[Roc]) -> Markup {
    let x = |rate: f64| LEFT + SQUARE * rate;
    let y = |rate: f64| TOP + SQUARE * (1.0 - rate);
    let ticks = [0.0, 0.25, 0.5, 0.75, 1.0];
    let view = format!("0 0 {} {}", LEFT + SQUARE + 14.0, TOP + SQUARE + 44.0);
    html! {
        svg.square viewBox=(view) role="img" aria-label="ROC curves" {
            @for tick in ticks {
                path.grid d=(format!("M{} {}V{}M{} {}H{}", x(tick), y(0.0), y(1.0), x(0.0), y(tick), x(1.0))) {}
                text.tick x=(x(tick)) y=(y(0.0) + 16.0) text-anchor="middle" { (tick) }
                text.tick x=(x(0.0) - 6.0) y=(y(tick) + 4.0) text-anchor="end" { (tick) }
            }
            path.chance d=(format!("M{} {}L{} {}", x(0.0), y(0.0), x(1.0), y(1.0))) {}
            @for curve in curves.iter().rev() {
                path class=(class(curve.signal)) d=(curve.path) {}
            }
            text.axis x=(x(0.5)) y=(y(0.0) + 36.0) text-anchor="middle" { "false alarms, share of normal frames" }
            text.axis transform=(format!("translate(13 {}) rotate(-90)", y(0.5))) text-anchor="middle" {
                "found, share of abnormal frames"
            }
        }
    }
}

fn roc_path(curve: &RocCurve) -> String {
    let last = curve.points.len() - 1;
    let step = curve.points.len().div_ceil(MOST_POINTS).max(1);
    let kept = curve.points.iter().enumerate().filter(|(i, _)| i % step == 0 || *i == last);
    let mut path = String::new();
    for (index, point) in kept {
        let x = LEFT + SQUARE * point.false_alarms as f64 / curve.negatives as f64;
        let y = TOP + SQUARE * (1.0 - point.hits as f64 / curve.positives as f64);
        let _ = write!(path, "{}{x:.1} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    path
}

/// The score of every video over its ground truth.
pub(super) fn videos_section(page: &Page<'_>) -> Markup {
    let by_video = page.measured.normalise(Grouping::Video, Signal::Combined);
    let calibrated = page.measured.normalise(Grouping::Calibrated, Signal::Combined);
    html! {
        section {
            h2 { "The paper’s score of every video" }
            p.note { "S, as the literature reports it. The alarm does not rest on it." }
            ul.legend {
                li { span.swatch.truth {} "labelled abnormal" }
                li {
                    svg.key viewBox="0 0 28 8" aria-hidden="true" { path class="curve combined" d="M0 4H28" {} }
                    "anomaly score, scaled by video"
                }
                @if calibrated.is_some() {
                    li {
                        svg.key viewBox="0 0 28 8" aria-hidden="true" { path class="curve live" d="M0 4H28" {} }
                        "calibrated"
                    }
                    li {
                        svg.key viewBox="0 0 28 8" aria-hidden="true" { path.threshold d="M0 4H28" {} }
                        "its threshold for 5 % false alarms"
                    }
                }
            }
            div.curves {
                @for (index, video) in page.measured.videos.iter().enumerate() {
                    (strip(page, Strip {
                        index,
                        first_frame: video.first_frame,
                        scores: by_video.as_ref().map(|found| found.videos[index].as_slice()),
                        calibrated: calibrated.as_ref().map(|found| found.videos[index].as_slice()),
                    }))
                }
            }
        }
    }
}

/// One video's curve.
#[derive(Clone, Copy)]
struct Strip<'a> {
    index: usize,
    first_frame: usize,
    scores: Option<&'a [f64]>,
    calibrated: Option<&'a [f64]>,
}

/// Height of a curve's picture in its own units; the page stretches it.
const HEIGHT: f64 = 100.0;

fn strip(page: &Page<'_>, strip: Strip<'_>) -> Markup {
    let labels = &page.measured.labels[strip.index];
    let row = &page.report.videos[strip.index];
    let frames = strip.first_frame + labels.len();
    let threshold =
        page.measured.threshold(strip.index, 0.05).filter(|_| strip.calibrated.is_some());
    let auc =
        |value: Option<f64>| value.map_or("one class".to_owned(), |auc| format!("AUC {auc:.3}"));
    html! {
        figure.strip {
            figcaption {
                b { (row.name) } " · " (auc(row.auc)) " · "
                (row.abnormal) " of " (row.frames) " frames abnormal"
            }
            div.plot {
                div.yaxis aria-hidden="true" { span { "1" } span { "0" } }
                svg viewBox=(format!("0 0 {} {HEIGHT}", frames.max(1))) preserveAspectRatio="none"
                    role="img" aria-label=(format!("anomaly score of video {}", row.name)) {
                    @for band in bands(labels) {
                        rect.truth x=(strip.first_frame + band.start) y="0" width=(band.len()) height=(HEIGHT) {}
                    }
                    path.grid d=(format!("M0 50H{frames}")) {}
                    @if let Some(threshold) = threshold {
                        path.threshold d=(format!("M0 {:.1}H{frames}", HEIGHT * (1.0 - threshold))) {}
                    }
                    @if let Some(scores) = strip.calibrated { path class="curve live" d=(path(scores, strip.first_frame)) {} }
                    @if let Some(scores) = strip.scores { path class="curve combined" d=(path(scores, strip.first_frame)) {} }
                }
                div.xaxis aria-hidden="true" {
                    span { "0" } span { (frames / 2) } span { "frame " (frames.saturating_sub(1)) }
                }
            }
        }
    }
}

/// Runs of abnormal frames.
pub(super) fn bands(labels: &[bool]) -> Vec<std::ops::Range<usize>> {
    let mut bands: Vec<std::ops::Range<usize>> = Vec::new();
    for (index, _) in labels.iter().enumerate().filter(|&(_, &abnormal)| abnormal) {
        match bands.last_mut().filter(|band| band.end == index) {
            Some(band) => band.end += 1,
            None => bands.push(index..index + 1),
        }
    }
    bands
}

/// A curve of scores in [0, 1] as the path of a picture of [`HEIGHT`]. Long videos keep the highest score of each stretch, so that no peak is lost.
pub(super) fn path(scores: &[f64], first_frame: usize) -> String {
    let stretch = scores.len().div_ceil(MOST_POINTS).max(1);
    let mut path = String::new();
    for (index, some) in scores.chunks(stretch).enumerate() {
        let highest = some.iter().copied().fold(0.0, f64::max);
        let x = first_frame as f64 + index as f64 * stretch as f64 + 0.5;
        let y = HEIGHT * (1.0 - highest);
        let _ = write!(path, "{}{x} {y:.1}", if index == 0 { 'M' } else { 'L' });
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bands_are_runs_of_abnormal_frames() {
        assert_eq!(bands(&[true, true, false, true]), [0..2, 3..4]);
        assert_eq!(bands(&[false; 3]), Vec::<std::ops::Range<usize>>::new());
    }

    #[test]
    fn a_long_video_keeps_its_peaks() {
        let mut scores = vec![0.0; 20_000];
        scores[12_345] = 1.0;
        let path = path(&scores, 4);
        assert!(path.matches('L').count() < MOST_POINTS);
        assert!(path.contains(" 0.0L"), "the peak's y is 0");
        assert!(path.starts_with("M4.5 100.0"));
    }
}
