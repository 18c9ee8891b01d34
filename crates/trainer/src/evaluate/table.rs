//! The report for a terminal.

use std::fmt::{self, Display, Formatter, Write as _};

use protoguard_core::normalise::Grouping;
use protoguard_frames::pace::apart;

use super::live::{Alarm, LiveReport, Promise, Regions, RowRates, ScoreRow, ThresholdOrigin};
use super::normalised::Signal;
use super::report::{ByClass, EvalReport, SignalMetrics, VideoMetrics};

/// Prints a report as plain text, at most 80 columns wide.
#[derive(Clone, Copy, Debug)]
pub struct Table<'a>(pub &'a EvalReport);

const COLUMNS: [(Signal, &str); 4] = [
    (Signal::Combined, "S"),
    (Signal::Psnr, "PSNR only"),
    (Signal::FeatureDistance, "DIST only"),
    (Signal::CopyFrame, "copy frame"),
];

impl Display for Table<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let subject = &report.subject;
        writeln!(f, "model {} on {}", subject.model_version, subject.data)?;
        writeln!(
            f,
            "{} videos, {} of {} frames scored, {} abnormal",
            subject.videos, subject.frames_scored, subject.frames, subject.abnormal
        )?;
        if let Some(interval) = subject.frame_interval {
            writeln!(f, "frames {}", apart(interval))?;
        }
        self.live(f)?;
        self.groupings(f)?;
        self.field_convention(f)?;
        self.thresholds(f)?;
        self.videos(f)?;
        if let Some(memory) = &report.memory {
            let (used, items) = (memory.items_in_use, memory.items);
            writeln!(
                f,
                "\nmemory: {used} of {items} items in use, D_m {:.3}, D_q {:.4}",
                memory.d_m, memory.d_q
            )?;
        }
        if let Some(speed) = &report.speed {
            writeln!(
                f,
                "{:.2} clips a second on {} ({:.1} s scoring, {:.1} s loading)",
                speed.clips_per_second, speed.device, speed.scoring_seconds, speed.loading_seconds
            )?;
        }
        report.warnings.iter().try_for_each(|warning| writeln!(f, "warning: {warning}"))
    }
}

/// Reads one metric of a signal.
type Value = fn(&SignalMetrics) -> Option<f64>;

impl Table<'_> {
    /// What the product promises, beside its parts and what needs no model.
    fn live(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let live = &self.0.live;
        writeln!(
            f,
            "\n{:<31}{:>9}{:>8} {:<13}{:>15}",
            "AUC", "by video", "global", "(95 %)", "TPR @ FPR"
        )?;
        live.rows.iter().try_for_each(|row| writeln!(f, "{}", score_row(row)))?;
        writeln!(f, "TPR @ FPR: what a threshold of 1 % of the camera's normal frames finds here")?;
        let upper = |row: &ScoreRow| {
            row.rates.is_some_and(|rates| rates.threshold_from == ThresholdOrigin::TestFrames)
        };
        if live.rows.iter().any(upper) {
            writeln!(f, "* 1 % of the test's own normal frames, which a camera does not have")?;
        }
        if let Some(alarm) = &live.alarm {
            alarm_lines(f, alarm, live)?;
        }
        live.regions.iter().try_for_each(|regions| writeln!(f, "{}", region_line(regions)))
    }

    fn groupings(&self, f: &mut Formatter<'_>) -> fmt::Result {
        write!(f, "\n{:<22}", "micro AUC by grouping")?;
        COLUMNS.iter().try_for_each(|(_, title)| write!(f, "{title:>12}"))?;
        writeln!(f)?;
        for grouping in self.0.metrics.keys() {
            write!(f, "{:<22}", format!("{grouping:?}").to_lowercase())?;
            for (signal, _) in COLUMNS {
                write!(f, "{:>12}", number(self.0.get(*grouping, signal).map(|found| found.auc)))?;
            }
            writeln!(f)?;
        }
        Ok(())
    }

    fn field_convention(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let of = |signal| self.0.get(Grouping::Video, signal);
        let rows: [(&str, Value); 3] = [
            ("macro AUC", |found| found.macro_auc.map(|mean| mean.auc)),
            ("average precision", |found| Some(found.average_precision)),
            ("equal error rate", |found| Some(found.equal_error_rate)),
        ];
        for (title, value) in rows {
            write!(f, "{title:<22}")?;
            for (signal, _) in COLUMNS {
                write!(f, "{:>12}", number(of(signal).and_then(value)))?;
            }
            writeln!(f)?;
        }
        let two_class =
            of(Signal::Combined).and_then(|found| found.macro_auc).map_or(0, |mean| mean.videos);
        writeln!(f, "the last three by video; macro over {two_class} two-class videos")
    }

    fn thresholds(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.0.thresholds.iter().try_for_each(|row| {
            writeln!(
                f,
                "threshold for {:.0} % false alarms: finds {:.1} % of abnormal frames, {:.1} % false alarms here",
                100.0 * row.false_alarm_rate,
                100.0 * row.found.true_positive_rate,
                100.0 * row.found.false_positive_rate
            )
        })
    }

    fn videos(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "\n{:<12}{:>7}{:>9}{:>8}{:>12}{:>15}{:>17}",
            "video", "frames", "abnormal", "AUC", "copy frame", "PSNR dB n/a", "DIST n/a"
        )?;
        self.0.videos.iter().try_for_each(|video| writeln!(f, "{}", row(video)))
    }
}

fn score_row(row: &ScoreRow) -> String {
    let interval = row
        .auc_global_interval
        .map_or(String::new(), |found| format!("({:.3}-{:.3})", found.low, found.high));
    let rates = row.rates.map_or("-".to_owned(), |RowRates { threshold_from, found }| {
        let mark = if threshold_from == ThresholdOrigin::TestFrames { '*' } else { ' ' };
        format!("{:.3} @ {:.3}{mark}", found.true_positive_rate, found.false_positive_rate)
    });
    let (title, by_video) = (row.score.title(), number(Some(row.auc_video)));
    format!("{title:<31}{by_video:>9}{:>8} {interval:<13}{rates:>16}", number(row.auc_global))
}

fn alarm_lines(f: &mut Formatter<'_>, alarm: &Alarm, live: &LiveReport) -> fmt::Result {
    let events = &alarm.events;
    writeln!(
        f,
        "\nalarm from {} of {} frames with a smoothed surprise above {} to more than {} without\n\
         {} of {} events found, {} missed",
        alarm.rule.unusual,
        alarm.rule.among,
        alarm.rule.threshold,
        alarm.rule.hold,
        events.found(),
        events.events.len(),
        events.missed()
    )?;
    let delay = alarm.median_delay_frames.map_or("-".to_owned(), |frames| format!("{frames}"));
    writeln!(
        f,
        "median delay {delay} frames; false alarms: {} on {} normal frames",
        events.false_alarms.len(),
        events.normal_frames
    )?;
    match &live.false_alarm_rate {
        Some(rate) => writeln!(
            f,
            "{:.1} false alarms an hour (95 %: {:.1} to {:.1}), from {:.1} minutes of normal video",
            rate.an_hour, rate.low, rate.high, rate.normal_minutes
        ),
        None => writeln!(f, "false alarms an hour: pass --fps to have them"),
    }?;
    promise_lines(f, &live.promises)
}

fn promise_lines(f: &mut Formatter<'_>, promises: &[Promise]) -> fmt::Result {
    if promises.is_empty() {
        return Ok(());
    }
    writeln!(
        f,
        "\n{:<27}{:>10}{:>9}{:>7}{:>14}{:>16}",
        "alarm set for so many false",
        "threshold",
        "events",
        "delay",
        "false alarms",
        "an hour here"
    )?;
    for promise in promises {
        let mark = if promise.extrapolated { "+" } else { "" };
        let asked = format!("{} an hour{mark}", promise.alarms_an_hour);
        let found = promise
            .found
            .map_or("-".to_owned(), |rate| format!("({:.0}-{:.0})", rate.low, rate.high));
        let delay = promise.median_delay_frames.map_or("-".to_owned(), |it| it.to_string());
        let events = format!("{}/{}", promise.events_found, promise.events);
        let (threshold, alarms) = (promise.threshold, promise.false_alarms);
        writeln!(f, "{asked:<27}{threshold:>10.2}{events:>9}{delay:>7}{alarms:>14}{found:>16}")?;
    }
    if promises.iter().any(|promise| promise.extrapolated) {
        writeln!(f, "+ rarer than the calibration's normal video can show; from its fitted tail")?;
    }
    Ok(())
}

fn region_line(found: &Regions) -> String {
    format!(
        "regions: RBDC {:.4}, TBDC {:.4}, pixel AUC {:.4} ({} regions, {} tracks, {} frames)",
        found.rbdc, found.tbdc, found.pixel_auc, found.regions, found.tracks, found.frames
    )
}

fn row(video: &VideoMetrics) -> String {
    let pair = |by: ByClass, digits: usize| {
        let side = |value: Option<f64>| value.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        format!("{}/{}", side(by.normal), side(by.abnormal))
    };
    let mut line = String::new();
    // Writing to a string cannot fail.
    let _ = write!(
        line,
        "{:<12}{:>7}{:>9}{:>8}{:>12}{:>15}{:>17}",
        video.name,
        video.frames,
        video.abnormal,
        number(video.auc),
        number(video.copy_frame_auc),
        pair(video.mean_psnr_db, 2),
        pair(video.mean_feature_distance, 4),
    );
    line
}

fn number(value: Option<f64>) -> String {
    value.map_or("-".to_owned(), |value| format!("{value:.4}"))
}
