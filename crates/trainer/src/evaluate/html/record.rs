//! The memory, and the run that made the weights.

use maud::{Markup, html};
use serde_json::Value;

use protoguard_checkpoint::{MemoryHealth, TrainingRecord};

use crate::evaluate::report::{EvalReport, MemoryUse};

/// How the memory was read on the test frames, and how it was at the end of training.
pub(super) fn memory_section(used: Option<&MemoryUse>, trained: Option<&MemoryHealth>) -> Markup {
    html! {
        section {
            h2 { "Memory health" }
            @if used.is_none() && trained.is_none() { p { "The model has no memory." } }
            @if let Some(warning) = trained.and_then(MemoryHealth::warning) { p.warning { (warning) } }
            div.pair {
                @if let Some(used) = used { (use_table(used)) }
                @if let Some(trained) = trained { (health_table(trained)) }
            }
            @if let Some(used) = used { (usage(used)) }
        }
    }
}

fn use_table(used: &MemoryUse) -> Markup {
    let rows = [
        ("items in use", format!("{} of {}", used.items_in_use, used.items)),
        ("perplexity of use", format!("{:.2}", used.perplexity)),
        ("share of the most used item", format!("{:.1} %", 100.0 * used.largest_share)),
        ("D_m, sum of cosines to the mean item", format!("{:.3}", used.d_m)),
        ("D_q, mean cosine to the nearest item", format!("{:.4}", used.d_q)),
    ];
    rows_table("On the test frames", &rows)
}

fn health_table(health: &MemoryHealth) -> Markup {
    let rows = [
        ("items in use", health.items_in_use.to_string()),
        ("perplexity of use", format!("{:.2}", health.perplexity)),
        ("queries of the most used item", health.largest_count.to_string()),
        ("mean cosine of two items", format!("{:.4}", health.mean_pairwise_cosine)),
        ("Tr(S_W) a clip", format!("{:.4e}", health.within_trace)),
        ("Tr(S_B) a clip", format!("{:.4e}", health.between_trace)),
    ];
    rows_table("In the last epoch of training", &rows)
}

fn rows_table(title: &str, rows: &[(&str, String)]) -> Markup {
    html! {
        div.scroll {
            table {
                caption { (title) }
                tbody { @for (name, value) in rows { tr { th { (name) } td { (value) } } } }
            }
        }
    }
}

/// One bar an item, the most used first.
fn usage(used: &MemoryUse) -> Markup {
    let mut shares = used.shares.clone();
    shares.sort_by(|a, b| b.total_cmp(a));
    let largest = shares.first().copied().unwrap_or_default().max(f64::MIN_POSITIVE);
    html! {
        figure.strip {
            figcaption { "Share of the queries whose nearest item each is, the most used first" }
            div.plot {
                div.yaxis aria-hidden="true" { span { (format!("{:.0} %", 100.0 * largest)) } span { "0" } }
                svg viewBox=(format!("0 0 {} 100", shares.len().max(1))) preserveAspectRatio="none"
                    role="img" aria-label="use of memory items" {
                    @for (index, share) in shares.iter().enumerate() {
                        rect.bar x=(format!("{:.2}", index as f64 + 0.1)) width="0.8"
                            y=(format!("{:.1}", 100.0 * (1.0 - share / largest)))
                            height=(format!("{:.1}", 100.0 * share / largest)) {}
                    }
                }
                div.xaxis aria-hidden="true" { span { "1" } span { "item " (shares.len()) } }
            }
        }
    }
}

/// What was run: the evaluation, the training, its configuration.
pub(super) fn run_section(report: &EvalReport, training: &TrainingRecord) -> Markup {
    let subject = &report.subject;
    let mut rows = vec![
        ("model", subject.model_version.clone()),
        ("test data", subject.data.clone()),
        ("labels", subject.labels.clone()),
        ("SHA-256 of the labels", subject.labels_sha256.clone()),
        ("trained on", training.data.clone()),
        ("epochs", training.epochs.to_string()),
        ("seed", training.seed.to_string()),
    ];
    if let Some(speed) = &report.speed {
        rows.push(("evaluated on", speed.device.clone()));
        rows.push(("clips a second", format!("{:.2}", speed.clips_per_second)));
    }
    html! {
        section {
            h2 { "The run" }
            (pairs(rows.iter().map(|(name, value)| Pair { name, value })))
            details {
                summary { "Configuration" }
                (pairs(flat("", &training.config).iter().map(Flat::pair)))
            }
            details {
                summary { "Figures of the training, and versions" }
                (pairs(figures(training).iter().map(Flat::pair)))
            }
        }
    }
}

struct Pair<'a> {
    name: &'a str,
    value: &'a str,
}

fn pairs<'a>(rows: impl Iterator<Item = Pair<'a>>) -> Markup {
    html! {
        dl.pairs {
            @for Pair { name, value } in rows { div { dt { (name) } dd { (value) } } }
        }
    }
}

/// A leaf of a configuration under its dotted name.
struct Flat {
    name: String,
    value: String,
}

impl Flat {
    fn pair(&self) -> Pair<'_> {
        Pair { name: &self.name, value: &self.value }
    }
}

fn flat(prefix: &str, value: &Value) -> Vec<Flat> {
    match value {
        Value::Object(fields) if !fields.is_empty() => fields
            .iter()
            .flat_map(|(name, value)| {
                let dot = if prefix.is_empty() { "" } else { "." };
                flat(&format!("{prefix}{dot}{name}"), value)
            })
            .collect(),
        Value::String(text) => vec![Flat { name: prefix.to_owned(), value: text.clone() }],
        other => vec![Flat { name: prefix.to_owned(), value: other.to_string() }],
    }
}

fn figures(training: &TrainingRecord) -> Vec<Flat> {
    let metrics = training
        .metrics
        .iter()
        .map(|(name, value)| Flat { name: name.clone(), value: format!("{value:.6}") });
    let versions = training
        .versions
        .iter()
        .map(|(name, value)| Flat { name: name.clone(), value: value.clone() });
    metrics.chain(versions).collect()
}
