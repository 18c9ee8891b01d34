//! The alarm as it would be raised live: its numbers, its table, and its curve over every video.

use maud::{Markup, html};
use protoguard_core::Detector;

use super::curves::{bands, path};
use super::{Page, numbers};
use crate::evaluate::live::{
    Alarm, FALSE_ALARM_RATE, LiveReport, Promise, RowRates, Score, ScoreRow, ThresholdOrigin,
};

/// The surprise that every picture reaches up to at least, so that the threshold lies inside.
const LEAST_TOP: f64 = 4.0;
/// Where pictures end: what is rarer than one frame in a hundred million is drawn at the top.
const MOST_TOP: f64 = 8.0;

/// What is read first.
pub(super) fn section(page: &Page<'_>) -> Markup {
    let live = &page.report.live;
    html! {
        section {
            h2 { "The live alarm" }
            @match &live.alarm {
                Some(Alarm { rule, .. }) => {
                    p.note {
                        "Every frame gets a surprise: how rare the like of it is on this camera’s own "
                        "normal video. 1 is one normal frame in ten, 2 one in a hundred, 3 one in a "
                        "thousand. It is smoothed over the frames before it. An alarm is raised when "
                        (rule.unusual) " of " (rule.among) " frames are above " (rule.threshold)
                        ", and ends when more than " (rule.hold) " in a row are not. Nothing of it needs "
                        "the future or a label: the camera’s stream would have been told the same."
                    }
                    (figures(live))
                }
                None => p.warning { "The checkpoint has no detector, so that no alarm can be raised live. Calibrate it to get one." }
            }
            @if !live.promises.is_empty() { (promises(&live.promises)) }
            (table(&live.rows))
            (curves(page))
        }
    }
}

struct Card {
    name: &'static str,
    value: String,
    note: String,
}

fn figures(live: &LiveReport) -> Markup {
    html! {
        dl.cards {
            @for Card { name, value, note } in alarm_cards(live).into_iter().chain(region_cards(live)) {
                div { dt { (name) } dd { (value) } @if !note.is_empty() { dd.small { (note) } } }
            }
        }
    }
}

fn percent(share: f64) -> String {
    format!("{:.1} %", 100.0 * share)
}

fn alarm_cards(live: &LiveReport) -> Vec<Card> {
    let card = |name, value: String, note: String| Card { name, value, note };
    let served = live.row(Score::Served);
    let mut cards = Vec::new();
    if let Some(alarm) = &live.alarm {
        let events = &alarm.events;
        let found = format!("{} of {}", events.found(), events.events.len());
        let late = |frames: f64| format!("median delay {frames} frames");
        let late = alarm.median_delay_frames.map_or(String::new(), late);
        cards.push(card("events found", found, late));
        let normal = format!("on {} normal frames", events.normal_frames);
        cards.push(card("false alarms", events.false_alarms.len().to_string(), normal));
    }
    if let Some(rate) = &live.false_alarm_rate {
        let minutes = format!("{:.1} minutes of normal video", rate.normal_minutes);
        let note = format!("95 %: {:.0} to {:.0}, from {minutes}", rate.low, rate.high);
        cards.push(card("false alarms an hour", format!("{:.1}", rate.an_hour), note));
    }
    if let Some(RowRates { found, .. }) = served.and_then(|row| row.rates) {
        let of = percent(found.true_positive_rate);
        cards.push(card("abnormal frames above its threshold", of, String::new()));
        let promised = format!("set for {}", percent(FALSE_ALARM_RATE));
        let of = percent(found.false_positive_rate);
        cards.push(card("normal frames above its threshold", of, promised));
    }
    if let Some(auc) = served.and_then(|row| row.auc_global) {
        let note = "one scale for all videos".to_owned();
        cards.push(card("AUC of the smoothed surprise", format!("{auc:.4}"), note));
    }
    cards
}

fn region_cards(live: &LiveReport) -> Vec<Card> {
    let Some(found) = &live.regions else { return Vec::new() };
    let card = |name, value: f64, note: String| Card { name, value: format!("{value:.4}"), note };
    vec![
        card("RBDC, regions found", found.rbdc, format!("{} regions", found.regions)),
        card("TBDC, tracks found", found.tbdc, format!("{} tracks", found.tracks)),
        card("AUC of single pixels", found.pixel_auc, format!("{} frames", found.frames)),
    ]
}

fn promises(promises: &[Promise]) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "The alarm set for so many false ones an hour" }
                thead {
                    tr {
                        th { "an hour" } th { "threshold" } th { "events found" } th { "median delay" }
                        th { "false alarms here" } th { "that is an hour, 95 %" }
                    }
                }
                tbody { @for promise in promises { (promise_row(promise)) } }
            }
        }
        p.note {
            "The threshold follows from how often the camera’s own normal video raised the alarm."
            @if promises.iter().any(|promise| promise.extrapolated) {
                " A plus: rarer than that video can show, so that it rests on the tail fitted to it; "
                "more normal video would say more."
            }
        }
    }
}

fn promise_row(promise: &Promise) -> Markup {
    let delay = promise.median_delay_frames;
    html! {
        tr {
            th { (promise.alarms_an_hour) @if promise.extrapolated { "+" } }
            td { (format!("{:.2}", promise.threshold)) }
            td { (promise.events_found) " of " (promise.events) }
            td { (delay.map_or("–".to_owned(), |frames| format!("{frames} frames"))) }
            td { (promise.false_alarms) }
            td { (promise.found.map_or("–".to_owned(), |rate| format!("{:.0} to {:.0}", rate.low, rate.high))) }
        }
    }
}

fn table(rows: &[ScoreRow]) -> Markup {
    let upper = |row: &ScoreRow| {
        row.rates.is_some_and(|rates| rates.threshold_from == ThresholdOrigin::TestFrames)
    };
    html! {
        div.scroll {
            table {
                caption { "Beside its parts, and beside scores that need no model" }
                thead {
                    tr {
                        th rowspan="2" { "score" } th colspan="3" { "AUC" }
                        th colspan="2" { "threshold for 1 % false alarms" }
                    }
                    tr {
                        th { "by video" } th { "global" } th { "95 % interval" }
                        th { "abnormal found" } th { "false alarms" }
                    }
                }
                tbody { @for row in rows { (score_row(row)) } }
            }
        }
        p.note {
            "By video: scaled by each video’s own extremes, which needs its end; what the literature "
            "reports. Global: one scale for all videos, as live; the interval draws whole videos "
            "again. The threshold is set on the camera's own normal frames."
            @if rows.iter().any(upper) {
                " An asterisk: it is set on the test’s own normal frames, which a camera does not have: "
                "at best."
            }
        }
    }
}

fn score_row(row: &ScoreRow) -> Markup {
    let interval = row.auc_global_interval;
    let interval =
        interval.map_or("–".to_owned(), |found| format!("{:.3} to {:.3}", found.low, found.high));
    let class = if row.score == Score::Served { "own" } else { "" };
    html! {
        tr class=(class) {
            th { (row.score.title()) }
            td { (numbers::number(Some(row.auc_video))) }
            td { (numbers::number(row.auc_global)) }
            td { (interval) }
            @match row.rates {
                Some(RowRates { threshold_from, found }) => {
                    td { (percent(found.true_positive_rate)) }
                    td {
                        (percent(found.false_positive_rate))
                        @if threshold_from == ThresholdOrigin::TestFrames { "*" }
                    }
                }
                None => { td { "–" } td { "–" } }
            }
        }
    }
}

/// The smoothed surprise of every video over its ground truth, all on one scale.
fn curves(page: &Page<'_>) -> Markup {
    let Some(served) = page.measured.smoothed() else { return html! {} };
    let largest = served.iter().flatten().copied().fold(LEAST_TOP, f64::max);
    let top = largest.ceil().min(MOST_TOP);
    html! {
        ul.legend {
            li { span.swatch.truth {} "labelled abnormal" }
            li {
                svg.key viewBox="0 0 28 8" aria-hidden="true" { path class="curve live" d="M0 4H28" {} }
                "smoothed surprise"
            }
            li {
                svg.key viewBox="0 0 28 8" aria-hidden="true" { path.threshold d="M0 4H28" {} }
                "threshold of the alarm: " (Detector::threshold(FALSE_ALARM_RATE))
            }
        }
        div.curves {
            @for (index, surprises) in served.iter().enumerate() {
                (strip(page, Strip { index, surprises, top }))
            }
        }
    }
}

#[derive(Clone, Copy)]
struct Strip<'a> {
    index: usize,
    surprises: &'a [f64],
    top: f64,
}

fn strip(page: &Page<'_>, Strip { index, surprises, top }: Strip<'_>) -> Markup {
    let (row, video) = (&page.report.videos[index], &page.measured.videos[index]);
    let (first, frames) = (video.first_frame, video.first_frame + surprises.len());
    let raised = Detector::threshold(FALSE_ALARM_RATE);
    let threshold = raised / top;
    let largest = surprises.iter().copied().fold(0.0, f64::max);
    let scaled: Vec<f64> = surprises.iter().map(|surprise| (surprise / top).min(1.0)).collect();
    html! {
        figure.strip {
            figcaption {
                b { (row.name) } " · " (row.abnormal) " of " (row.frames) " frames abnormal"
            }
            div.plot {
                div.yaxis {
                    span { "surprise " (top) @if largest > top { "+" } }
                    span.at style=(format!("top:{:.1}%", 100.0 * (1.0 - threshold))) { (raised) }
                    span { "0" }
                }
                svg viewBox=(format!("0 0 {} 100", frames.max(1))) preserveAspectRatio="none"
                    role="img" aria-label=(format!("smoothed surprise of video {}", row.name)) {
                    @for band in bands(&page.measured.labels[index]) {
                        rect.truth x=(first + band.start) y="0" width=(band.len()) height="100" {}
                    }
                    path.threshold d=(format!("M0 {:.1}H{frames}", 100.0 * (1.0 - threshold))) {}
                    path class="curve live" d=(path(&scaled, first)) {}
                }
                div.xaxis aria-hidden="true" {
                    span { "0" } span { (frames / 2) } span { "frame " (frames.saturating_sub(1)) }
                }
            }
        }
    }
}
