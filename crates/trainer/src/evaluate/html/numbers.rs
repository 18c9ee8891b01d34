//! The tables.

use std::collections::BTreeMap;

use maud::{Markup, html};
use protoguard_core::normalise::Grouping;

use super::SIGNALS;
use crate::evaluate::normalised::Signal;
use crate::evaluate::report::{ByClass, EvalReport, SignalMetrics};

/// Four digits, or a dash.
pub(super) fn number(value: Option<f64>) -> String {
    value.map_or("–".to_owned(), |value| format!("{value:.4}"))
}

fn name(grouping: Grouping) -> &'static str {
    match grouping {
        Grouping::Video => "by video",
        Grouping::Scene => "by scene",
        Grouping::Dataset => "data set",
        Grouping::Calibrated => "calibrated",
    }
}

/// The most quoted figures, all metrics by grouping and signal, and the thresholds.
pub(super) fn section(report: &EvalReport, figures: &Markup) -> Markup {
    html! {
        section {
            h2 { "In the terms of the literature" }
            (figures)
            (micro_table(report))
            details open {
                summary { "All metrics" }
                (full_table(report))
            }
            (thresholds(report))
        }
    }
}

fn micro_table(report: &EvalReport) -> Markup {
    html! {
        div.scroll {
            table {
                caption { "Micro AUC" }
                thead { tr { th { "scaled" } @for (_, name) in SIGNALS { th { (name) } } } }
                tbody {
                    @for &grouping in report.metrics.keys() {
                        tr {
                            th { (name(grouping)) }
                            @for (signal, _) in SIGNALS {
                                td { (number(report.get(grouping, signal).map(|found| found.auc))) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One block of rows a grouping: five columns fit a phone.
fn full_table(report: &EvalReport) -> Markup {
    html! {
        div.scroll {
            table {
                thead {
                    tr {
                        th { "signal" } th { "micro AUC" } th { "macro AUC" } th { "AP" } th { "EER" }
                    }
                }
                @for (&grouping, signals) in &report.metrics {
                    tbody {
                        tr { th.block colspan="5" { (name(grouping)) (two_class(signals)) } }
                        @for (signal, title) in SIGNALS {
                            @if let Some(found) = signals.get(&signal) { (metrics_row(title, found)) }
                        }
                    }
                }
            }
        }
    }
}

fn metrics_row(title: &str, found: &SignalMetrics) -> Markup {
    html! {
        tr {
            th { (title) }
            td { (number(Some(found.auc))) }
            td { (number(found.macro_auc.map(|mean| mean.auc))) }
            td { (number(Some(found.average_precision))) }
            td { (number(Some(found.equal_error_rate))) }
        }
    }
}

/// How many videos the macro AUC is over.
fn two_class(signals: &BTreeMap<Signal, SignalMetrics>) -> String {
    let mean = signals.values().find_map(|found| found.macro_auc);
    mean.map_or(String::new(), |mean| {
        format!(", macro over {} videos of both classes", mean.videos)
    })
}

fn thresholds(report: &EvalReport) -> Markup {
    let percent = |value: f64| format!("{:.1} %", 100.0 * value);
    html! {
        @if !report.thresholds.is_empty() {
            div.scroll {
                table {
                    caption { "At the calibrated thresholds" }
                    thead {
                        tr {
                            th { "set for false alarms of" } th { "abnormal frames found" }
                            th { "false alarms here" }
                        }
                    }
                    tbody {
                        @for row in &report.thresholds {
                            tr {
                                th { (percent(row.false_alarm_rate)) }
                                td { (percent(row.found.true_positive_rate)) }
                                td { (percent(row.found.false_positive_rate)) }
                            }
                        }
                    }
                }
            }
        }
    }
}

/// One row a video.
pub(super) fn videos_section(report: &EvalReport) -> Markup {
    let side = |value: Option<f64>, digits: usize| {
        value.map_or("–".to_owned(), |value| format!("{value:.digits$}"))
    };
    let cells = |by: ByClass, digits| [side(by.normal, digits), side(by.abnormal, digits)];
    html! {
        section {
            h2 { "Table by video" }
            div.scroll {
                table {
                    thead {
                        tr {
                            th rowspan="2" { "video" } th rowspan="2" { "frames" }
                            th rowspan="2" { "abnormal" } th colspan="2" { "AUC" }
                            th colspan="2" { "mean PSNR, dB" } th colspan="2" { "mean DIST" }
                        }
                        tr {
                            th { "S" } th { "copy frame" } th { "normal" } th { "abnormal" }
                            th { "normal" } th { "abnormal" }
                        }
                    }
                    tbody {
                        @for video in &report.videos {
                            tr {
                                th { (video.name) }
                                td { (video.frames) }
                                td { (video.abnormal) }
                                td { (number(video.auc)) }
                                td { (number(video.copy_frame_auc)) }
                                @for cell in cells(video.mean_psnr_db, 2) { td { (cell) } }
                                @for cell in cells(video.mean_feature_distance, 4) { td { (cell) } }
                            }
                        }
                    }
                }
            }
            p.note { "A video of one class only has no AUC." }
        }
    }
}
