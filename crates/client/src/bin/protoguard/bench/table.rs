//! The result for people.

use std::fmt::Write;

use super::report::{Report, Spread};
use crate::score::table::grid;

/// The whole report as text.
pub(crate) fn render(report: &Report) -> String {
    let load = &report.load;
    let who = match (load.clients, load.rate_per_second) {
        (Some(clients), _) => format!("{clients} callers"),
        (None, rate) => format!("{:.1} arrivals/s", rate.unwrap_or_default()),
    };
    let settled = if report.stable { "" } else { ", NOT STABLE" };
    let mut text = format!(
        "model {}@{}\n{} loop: {who} on {} connections, {} bytes a clip, deadline {} ms{settled}\n\n",
        report.model,
        report.model_version,
        load.mode,
        load.connections,
        load.clip_bytes,
        load.deadline_ms
    );
    text.push_str(&grid(&window_rows(report)));
    text.push('\n');
    text.push_str(&grid(&spread_rows(report)));
    let codes: Vec<String> = report.codes.iter().map(|(code, n)| format!("{code} {n}")).collect();
    let _ = write!(
        text,
        "\n{:.2} clips/s, {:.2} within the deadline, mean batch {}\n{} sent, {} answered: {}\n",
        report.clips_per_second,
        report.goodput_per_second,
        report.mean_batch_size.map_or("-".to_owned(), |size| format!("{size:.2}")),
        report.sent,
        report.answered,
        codes.join(", ")
    );
    for (code, message) in &report.failures {
        let _ = writeln!(text, "first {code}: {message}");
    }
    text
}

fn window_rows(report: &Report) -> Vec<Vec<String>> {
    let header = ["window", "scored", "in time", "failed", "clips/s", "mean ms"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let last = ("measured".to_owned(), &report.measured);
    let numbered = report.windows.iter().enumerate().map(|(i, w)| ((i + 1).to_string(), w));
    for (name, window) in numbered.chain([last]) {
        rows.push(vec![
            name,
            window.scored.to_string(),
            window.good.to_string(),
            window.failed.to_string(),
            format!("{:.2}", window.clips_per_second),
            window.mean_ms.map_or("-".to_owned(), |ms| format!("{ms:.2}")),
        ]);
    }
    rows
}

fn spread_rows(report: &Report) -> Vec<Vec<String>> {
    let header = ["ms", "min", "p50", "p90", "p95", "p99", "p99.9", "max"];
    let mut rows = vec![header.map(str::to_owned).to_vec()];
    let spreads = [
        ("latency", report.latency_ms),
        ("queue", report.queue_ms),
        ("decode", report.decode_ms),
        ("compute", report.compute_ms),
    ];
    for (name, spread) in spreads {
        let Some(Spread { min, p50, p90, p95, p99, p999, max, .. }) = spread else { continue };
        let cells = [min, p50, p90, p95, p99, p999, max].map(|ms| format!("{ms:.2}"));
        rows.push(std::iter::once(name.to_owned()).chain(cells).collect());
    }
    rows
}
