//! The served score of every frame, one strip a video.

use std::ops::Range;

use image::{Rgb, RgbImage};
use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use super::canvas::{draw_on, text_style, upward};

const WIDTH: u32 = 1280;
const HEADER: u32 = 76;
const STRIP: u32 = 190;
const FOOTER: u32 = 12;

const INK: RGBColor = RGBColor(40, 40, 48);
const GRID: RGBColor = RGBColor(226, 228, 232);
const SCORE: RGBColor = RGBColor(24, 78, 140);
const TRUTH: RGBColor = RGBColor(250, 208, 200);
const THRESHOLD: RGBColor = RGBColor(196, 60, 20);

/// Surprises above so many thresholds are drawn at the upper edge, so that the threshold keeps its
/// place in the picture.
const MOST_THRESHOLDS: f64 = 5.0;

/// What the curve is of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Quantity {
    /// In [0, 1].
    AnomalyScore,
    /// From 0 without end: one more is ten times rarer.
    Surprise,
}

impl Quantity {
    fn name(self) -> &'static str {
        match self {
            Self::AnomalyScore => "anomaly score",
            Self::Surprise => "surprise",
        }
    }

    /// What is drawn from the lower edge to the upper one, the same in all strips. A threshold of
    /// surprise lies in the lower half at most.
    fn top(self, strips: &[Strip]) -> f64 {
        if self == Self::AnomalyScore {
            return 1.0;
        }
        let threshold = strips.iter().filter_map(|strip| strip.threshold).fold(0.0, f64::max);
        let threshold = if threshold > 0.0 { threshold } else { 2.0 };
        let scores = strips.iter().flat_map(|strip| strip.scores.iter().map(|score| score.1));
        let highest = 1.05 * scores.fold(0.0, f64::max);
        highest.clamp(2.0 * threshold, MOST_THRESHOLDS * threshold)
    }

    /// The threshold in words.
    fn threshold(self, at: f64) -> String {
        match self {
            Self::AnomalyScore => "threshold".to_owned(),
            Self::Surprise => {
                format!("threshold {at:.1}: 1 normal frame in {:.0}", 10f64.powf(at))
            }
        }
    }
}

/// One strip.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strip {
    /// What stands over it.
    pub(crate) name: String,
    /// Score by zero-based frame, in order.
    pub(crate) scores: Vec<(usize, f64)>,
    /// Frames in all, the unscored first ones included.
    pub(crate) frames: usize,
    /// Runs of frames that are abnormal in truth.
    pub(crate) abnormal: Vec<Range<usize>>,
    /// Above it a frame is called anomalous.
    pub(crate) threshold: Option<f64>,
}

/// Draws all strips of a model's scores under one title.
pub(crate) fn draw(model: &str, quantity: Quantity, strips: &[Strip]) -> anyhow::Result<RgbImage> {
    let height = HEADER + STRIP * strips.len() as u32 + FOOTER;
    let mut picture = RgbImage::from_pixel(WIDTH, height, Rgb([255; 3]));
    let axis = Axis { quantity, top: quantity.top(strips) };
    let title = match quantity {
        Quantity::AnomalyScore => format!("Anomaly score of {model}"),
        Quantity::Surprise => format!("Smoothed surprise of {model}"),
    };
    draw_on(&mut picture, |area| {
        area.draw(&Text::new(title, (16, 12), text_style(26, INK)))?;
        draw_legend(area, quantity, strips)?;
        let (_, below) = area.split_vertically(HEADER);
        for (strip, part) in strips.iter().zip(below.split_evenly((strips.len().max(1), 1))) {
            draw_strip(strip, axis, &part)?;
        }
        Ok(())
    })?;
    Ok(picture)
}

/// The vertical axis, from 0.
#[derive(Clone, Copy, Debug)]
struct Axis {
    quantity: Quantity,
    top: f64,
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

fn draw_legend(area: &Area<'_>, quantity: Quantity, strips: &[Strip]) -> anyhow::Result<()> {
    let mut x = 18;
    let mut entry = |words: &str, colour: RGBColor, tall: i32| -> anyhow::Result<()> {
        let swatch = [(x, 56 - tall / 2), (x + 26, 56 + tall / 2)];
        area.draw(&Rectangle::new(swatch, colour.filled()))?;
        area.draw(&Text::new(words.to_owned(), (x + 34, 47), text_style(17, INK)))?;
        x += 34 + words.len() as i32 * 8 + 28;
        Ok(())
    };
    entry(quantity.name(), SCORE, 2)?;
    if let Some(at) = strips.iter().find_map(|strip| strip.threshold) {
        entry(&quantity.threshold(at), THRESHOLD, 2)?;
    }
    if strips.iter().any(|strip| !strip.abnormal.is_empty()) {
        entry("abnormal in truth", TRUTH, 14)?;
    }
    Ok(())
}

fn draw_strip(strip: &Strip, axis: Axis, area: &Area<'_>) -> anyhow::Result<()> {
    let Axis { quantity, top } = axis;
    let last = strip.frames.max(2) - 1;
    area.draw(&Text::new(strip.name.clone(), (72, 4), text_style(18, INK)))?;
    let middle = area.dim_in_pixel().1 as i32 / 2;
    let upright = upward(text_style(16, INK)).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new(quantity.name(), (14, middle), upright))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(24)
        .margin_left(34)
        .x_label_area_size(40)
        .y_label_area_size(38)
        .build_cartesian_2d(0.0..last as f64, 0.0..top)?;
    chart.draw_series(strip.abnormal.iter().map(|run| {
        // A frame stands for the time until the next one.
        let end = (run.end as f64).min(last as f64);
        Rectangle::new([(run.start as f64, 0.0), (end, top)], TRUTH.filled())
    }))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(WHITE.mix(0.0))
        .bold_line_style(GRID)
        .axis_style(INK)
        .label_style(text_style(15, INK))
        .axis_desc_style(text_style(16, INK))
        .x_labels(12)
        .y_labels(if quantity == Quantity::Surprise { 6 } else { 3 })
        .x_label_formatter(&|frame| format!("{frame:.0}"))
        .y_label_formatter(&|score| format!("{score:.1}"))
        .x_desc("frame")
        .draw()?;
    let line = strip.scores.iter().map(|&(frame, score)| (frame as f64, score.clamp(0.0, top)));
    chart.draw_series(LineSeries::new(line, SCORE.stroke_width(2)))?;
    if let Some(threshold) = strip.threshold {
        let ends = [(0.0, threshold), (last as f64, threshold)];
        chart.draw_series(DashedLineSeries::new(ends, 8, 5, THRESHOLD.stroke_width(2)))?;
    }
    Ok(())
}

/// The runs of true values.
pub(crate) fn runs(labels: &[bool]) -> Vec<Range<usize>> {
    let mut runs: Vec<Range<usize>> = Vec::new();
    for (frame, _) in labels.iter().enumerate().filter(|label| *label.1) {
        match runs.last_mut() {
            Some(run) if run.end == frame => run.end += 1,
            _ => runs.push(frame..frame + 1),
        }
    }
    runs
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_of_abnormal_frames() {
        assert_eq!(runs(&[false, true, true, false, true]), [1..3, 4..5]);
        assert_eq!(runs(&[false, false]), Vec::<Range<usize>>::new());
    }

    #[test]
    fn truth_and_curve_are_where_they_belong() {
        let strip = Strip {
            name: "01".to_owned(),
            scores: (4..100).map(|f| (f, if f < 50 { 0.1 } else { 0.9 })).collect(),
            frames: 100,
            abnormal: runs(&(0..100).map(|frame| frame >= 50).collect::<Vec<_>>()),
            threshold: Some(0.5),
        };
        let picture = draw("hall", Quantity::AnomalyScore, &[strip.clone(), strip]).unwrap();
        assert_eq!(picture.dimensions(), (WIDTH, HEADER + 2 * STRIP + FOOTER));
        let has = |from: u32, to: u32, colour: RGBColor| {
            let wanted = Rgb([colour.0, colour.1, colour.2]);
            let rows = HEADER + 30..HEADER + STRIP;
            rows.clone().any(|y| (from..to).any(|x| *picture.get_pixel(x, y) == wanted))
        };
        assert!(!has(80, WIDTH / 2 - 10, TRUTH) && has(WIDTH / 2 + 60, WIDTH - 40, TRUTH));
        assert!(has(100, WIDTH / 2, SCORE) && has(100, WIDTH - 40, THRESHOLD));
    }

    #[test]
    fn a_video_without_scores_is_drawn_empty() {
        let strip = Strip { name: "short".to_owned(), frames: 1, ..Default::default() };
        assert!(draw("hall", Quantity::Surprise, &[strip]).is_ok());
    }

    fn rising(top: f64) -> Strip {
        Strip {
            frames: 100,
            scores: (4..100).map(|f| (f, top * f as f64 / 99.0)).collect(),
            threshold: Some(2.0),
            ..Default::default()
        }
    }

    #[test]
    fn the_threshold_of_surprise_lies_inside_the_picture() {
        let picture = draw("hall", Quantity::Surprise, &[rising(3.0), rising(40.0)]).unwrap();
        let strip_height = STRIP + FOOTER / 2;
        let rows_of_threshold = |strip: u32| {
            let from = HEADER + strip * strip_height;
            let wanted = Rgb([THRESHOLD.0, THRESHOLD.1, THRESHOLD.2]);
            let is_line = |y: &u32| (100..1200).any(|x| *picture.get_pixel(x, *y) == wanted);
            (from..from + strip_height).filter(is_line).map(|y| y - from).collect::<Vec<_>>()
        };
        // From 28 pixels below the strip's upper edge to 40 above its lower one lie 0 to 10.
        let (upper, lower) = (28, strip_height - 40);
        let expected = lower - (lower - upper) / 5;
        for strip in [0, 1] {
            let rows = rows_of_threshold(strip);
            assert!(rows.iter().all(|row| row.abs_diff(expected) <= 2), "{rows:?}");
            assert!(!rows.is_empty());
        }
    }

    #[test]
    fn the_axis_shows_twice_the_threshold_at_least() {
        let top = |highest| Quantity::Surprise.top(&[rising(highest)]);
        assert_eq!((top(0.5), top(400.0)), (4.0, 10.0));
        assert!((top(6.0) - 6.3).abs() < 1e-9);
        assert_eq!(Quantity::AnomalyScore.top(&[rising(0.5)]), 1.0);
        assert_eq!(Quantity::Surprise.threshold(2.0), "threshold 2.0: 1 normal frame in 100");
    }
}
