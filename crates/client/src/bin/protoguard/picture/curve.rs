//! The anomaly score of every frame, one strip a video.

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

/// One strip.
#[derive(Clone, Debug, Default)]
pub(crate) struct Strip {
    /// What stands over it.
    pub(crate) name: String,
    /// Anomaly score in [0, 1] by zero-based frame, in order.
    pub(crate) scores: Vec<(usize, f64)>,
    /// Frames in all, the unscored first ones included.
    pub(crate) frames: usize,
    /// Runs of frames that are abnormal in truth.
    pub(crate) abnormal: Vec<Range<usize>>,
    /// Above it a frame is called anomalous.
    pub(crate) threshold: Option<f64>,
}

/// Draws all strips under one title.
pub(crate) fn draw(title: &str, strips: &[Strip]) -> anyhow::Result<RgbImage> {
    let height = HEADER + STRIP * strips.len() as u32 + FOOTER;
    let mut picture = RgbImage::from_pixel(WIDTH, height, Rgb([255; 3]));
    let truth = strips.iter().any(|strip| !strip.abnormal.is_empty());
    let threshold = strips.iter().any(|strip| strip.threshold.is_some());
    draw_on(&mut picture, |area| {
        area.draw(&Text::new(title.to_owned(), (16, 12), text_style(26, INK)))?;
        draw_legend(area, truth, threshold)?;
        let (_, below) = area.split_vertically(HEADER);
        for (strip, part) in strips.iter().zip(below.split_evenly((strips.len().max(1), 1))) {
            draw_strip(strip, &part)?;
        }
        Ok(())
    })?;
    Ok(picture)
}

type Area<'a> = DrawingArea<BitMapBackend<'a>, Shift>;

fn draw_legend(area: &Area<'_>, truth: bool, threshold: bool) -> anyhow::Result<()> {
    let mut x = 18;
    let mut entry = |words: &str, colour: RGBColor, tall: i32| -> anyhow::Result<()> {
        let swatch = [(x, 56 - tall / 2), (x + 26, 56 + tall / 2)];
        area.draw(&Rectangle::new(swatch, colour.filled()))?;
        area.draw(&Text::new(words.to_owned(), (x + 34, 47), text_style(17, INK)))?;
        x += 34 + words.len() as i32 * 8 + 28;
        Ok(())
    };
    entry("anomaly score", SCORE, 2)?;
    if threshold {
        entry("threshold", THRESHOLD, 2)?;
    }
    if truth {
        entry("abnormal in truth", TRUTH, 14)?;
    }
    Ok(())
}

fn draw_strip(strip: &Strip, area: &Area<'_>) -> anyhow::Result<()> {
    let last = strip.frames.max(2) - 1;
    area.draw(&Text::new(strip.name.clone(), (72, 4), text_style(18, INK)))?;
    let middle = area.dim_in_pixel().1 as i32 / 2;
    let upright = upward(text_style(16, INK)).pos(Pos::new(HPos::Center, VPos::Top));
    area.draw(&Text::new("anomaly score", (14, middle), upright))?;
    let mut chart = ChartBuilder::on(area)
        .margin_top(28)
        .margin_right(24)
        .margin_left(34)
        .x_label_area_size(40)
        .y_label_area_size(38)
        .build_cartesian_2d(0.0..last as f64, 0.0..1.0)?;
    chart.draw_series(strip.abnormal.iter().map(|run| {
        // A frame stands for the time until the next one.
        let end = (run.end as f64).min(last as f64);
        Rectangle::new([(run.start as f64, 0.0), (end, 1.0)], TRUTH.filled())
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
        .y_labels(3)
        .x_label_formatter(&|frame| format!("{frame:.0}"))
        .y_label_formatter(&|score| format!("{score:.1}"))
        .x_desc("frame")
        .draw()?;
    let line = strip.scores.iter().map(|&(frame, score)| (frame as f64, score.clamp(0.0, 1.0)));
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
        let picture = draw("Scores", &[strip.clone(), strip]).unwrap();
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
        assert!(draw("Scores", &[strip]).is_ok());
    }
}
