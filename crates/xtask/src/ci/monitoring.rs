//! The dashboard and the alert rules ask only for metrics and labels that the server has.
//!
//! A query for a name that does not exist is no error in Prometheus: the panel stays empty and the
//! alert silent for ever.

use std::fs;

use anyhow::{Context, Result, bail};
use serde_json::Value;

use protoguard_launch::workspace::Workspace;

/// What the server exports, one line a family: name, kind, labels. The checks of manifests and of
/// images read the same list, the latter against a running server.
const LIST: &str = "k8s/tests/metrics.txt";

const PREFIX: &str = "protoguard_";

/// A family of the server's metrics page.
#[derive(Debug)]
struct Family<'a> {
    /// Without the prefix that all share.
    name: &'a str,
    kind: Kind,
    labels: Vec<&'a str>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Gauge,
    Counter,
    Histogram,
}

/// The families of a list.
fn families(list: &str) -> Result<Vec<Family<'_>>> {
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| family(line).with_context(|| format!("{LIST}: {line}"))).collect()
}

fn family(line: &str) -> Result<Family<'_>> {
    let mut words = line.split_whitespace();
    let name = words.next().and_then(|name| name.strip_prefix(PREFIX));
    let kind = match words.next() {
        Some("gauge") => Kind::Gauge,
        Some("counter") => Kind::Counter,
        Some("histogram") => Kind::Histogram,
        _ => bail!("gauge, counter or histogram is expected as the second word"),
    };
    let name = name.with_context(|| format!("a name with {PREFIX} is expected"))?;
    Ok(Family { name, kind, labels: words.collect() })
}

/// Labels that the scraper adds to every series.
const TARGET_LABELS: [&str; 5] = ["namespace", "pod", "job", "instance", "le"];

/// What is wrong with the two files, one line each.
///
/// # Errors
/// When one cannot be read.
pub(super) fn complaints(workspace: &Workspace) -> Result<Vec<String>> {
    let read = |file: &str| {
        fs::read_to_string(workspace.root().join(file)).with_context(|| format!("reading {file}"))
    };
    let list = read(LIST)?;
    let families = families(&list)?;
    let mut found = Vec::new();
    for (file, queries_of) in [
        ("k8s/monitoring/dashboard.json", dashboard as fn(&str) -> Result<Vec<String>>),
        ("k8s/monitoring/alerts.yaml", alerts),
    ] {
        let queries = queries_of(&read(file)?).with_context(|| format!("in {file}"))?;
        found.extend(
            queries
                .iter()
                .flat_map(|query| of_query(&families, query))
                .map(|complaint| format!("{file}: {complaint}")),
        );
    }
    Ok(found)
}

/// The expressions of a Grafana dashboard, wherever they are nested.
fn dashboard(text: &str) -> Result<Vec<String>> {
    let mut queries = Vec::new();
    collect(&serde_json::from_str(text).context("it is not JSON")?, &mut queries);
    anyhow::ensure!(!queries.is_empty(), "it asks for nothing");
    Ok(queries)
}

fn collect(value: &Value, queries: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            for (key, value) in fields {
                match value.as_str() {
                    Some(query) if ["expr", "query", "definition"].contains(&key.as_str()) => {
                        queries.push(query.to_owned());
                    }
                    _ => collect(value, queries),
                }
            }
        }
        Value::Array(values) => values.iter().for_each(|value| collect(value, queries)),
        _ => {}
    }
}

/// Every line of the rules: what is not an expression names no metric.
fn alerts(text: &str) -> Result<Vec<String>> {
    anyhow::ensure!(text.contains("expr:"), "it has no rule");
    Ok(text.lines().map(str::to_owned).collect())
}

fn of_query(families: &[Family<'_>], query: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (start, _) in query.match_indices(PREFIX) {
        let rest = &query[start + PREFIX.len()..];
        let name = word(rest);
        let Some(family) = families.iter().find(|family| family.has_series(name)) else {
            found.push(format!("{PREFIX}{name} is no series of the server"));
            continue;
        };
        let selector = rest[name.len()..].strip_prefix('{').and_then(|rest| rest.split('}').next());
        for label in selector.into_iter().flat_map(labels) {
            if !family.labels.contains(&label) && !TARGET_LABELS.contains(&label) {
                found.push(format!("{PREFIX}{name} has no label {label}"));
            }
        }
    }
    found
}

impl Family<'_> {
    /// Whether a series of this family has that name.
    fn has_series(&self, name: &str) -> bool {
        let suffix = name.strip_prefix(self.name);
        match self.kind {
            Kind::Histogram => matches!(suffix, Some("_bucket" | "_sum" | "_count")),
            Kind::Gauge | Kind::Counter => suffix == Some(""),
        }
    }
}

fn word(text: &str) -> &str {
    let end = text.find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_');
    &text[..end.unwrap_or(text.len())]
}

/// The names in `a="b", c=~"d"`; no value has a comma here.
fn labels(selector: &str) -> impl Iterator<Item = &str> {
    selector.split(',').map(|pair| word(pair.trim_start())).filter(|label| !label.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list() -> String {
        fs::read_to_string(Workspace::locate().unwrap().root().join(LIST)).unwrap()
    }

    #[test]
    fn names_and_labels_that_do_not_exist_are_found() {
        let list = list();
        let of_query = |query: &str| of_query(&families(&list).unwrap(), query);
        let good = r#"sum(rate(protoguard_batch_size_sum{model=~"$model", pod!="a"}[5m]))"#;
        assert_eq!(of_query(good), Vec::<String>::new());
        assert_eq!(of_query("label_values(protoguard_model_info, model)"), Vec::<String>::new());
        let cases = [
            ("protoguard_batches_total", "protoguard_batches_total is no series of the server"),
            ("rate(protoguard_batch_size[5m])", "protoguard_batch_size is no series of the server"),
            ("protoguard_queue_clips_sum", "protoguard_queue_clips_sum is no series of the server"),
            ("protoguard_clips_total{scene=\"a\"}", "protoguard_clips_total has no label scene"),
        ];
        for (query, complaint) in cases {
            assert_eq!(of_query(query), [complaint]);
        }
    }

    #[test]
    fn a_list_with_anything_but_families_is_refused() {
        let one = "# name, kind, labels\n\nprotoguard_clips_total counter model\n";
        let found = families(one).unwrap();
        let [Family { name: "clips_total", kind: Kind::Counter, labels }] = &found[..] else {
            panic!("{found:?}");
        };
        assert_eq!(*labels, ["model"]);
        assert_eq!(families(&list()).unwrap().len(), 18);
        for line in ["protoguard_clips_total", "protoguard_clips_total summary", "clips counter"] {
            assert!(families(line).is_err(), "{line}");
        }
    }

    #[test]
    fn expressions_are_found_wherever_they_are() {
        let text = r#"{"panels": [{"targets": [{"expr": "a"}]}], "list": [{"query": "b"}]}"#;
        assert_eq!(dashboard(text).unwrap(), ["b", "a"]);
        assert!(dashboard("{}").is_err() && alerts("").is_err());
    }

    #[test]
    fn every_family_is_charted() {
        let workspace = Workspace::locate().unwrap();
        let path = workspace.root().join("k8s/monitoring/dashboard.json");
        let queries = dashboard(&fs::read_to_string(path).unwrap()).unwrap();
        for family in families(&list()).unwrap() {
            let name = format!("{PREFIX}{}", family.name);
            assert!(queries.iter().any(|query| query.contains(&name)), "{name} is charted nowhere");
        }
    }

    #[test]
    fn this_workspace_holds() {
        let workspace = Workspace::locate().unwrap();
        assert_eq!(complaints(&workspace).unwrap(), Vec::<String>::new());
    }
}
