//! Measured ratios, as a table for people and as JSON for programs.

use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde_json::Value;

use super::machine::Machine;

/// The upper one of two in the middle; nothing of nothing.
pub(super) fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

/// What a ratio has to be.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Goal {
    AtLeast(f64),
    AtMost(f64),
}

/// One measured ratio.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Ratio {
    /// Such as `E1`.
    pub(super) key: &'static str,
    pub(super) what: &'static str,
    pub(super) unit: &'static str,
    #[serde(serialize_with = "as_text")]
    pub(super) goal: Goal,
    pub(super) value: f64,
    /// How it was measured, in one sentence.
    pub(super) method: &'static str,
    /// What it was computed from.
    pub(super) details: Value,
}

/// Whether one of these keys is to be measured: all are where `only` names none.
pub(super) fn wants(only: &[String], keys: &[&str]) -> bool {
    only.is_empty() || keys.iter().any(|key| only.iter().any(|wanted| wanted == key))
}

/// Everything of one run.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Results {
    /// What was measured, in one word: the page's title and the file's.
    #[serde(skip)]
    pub(super) of: &'static str,
    pub(super) date: String,
    pub(super) machine: Machine,
    /// The command's settings.
    pub(super) settings: Value,
    pub(super) ratios: Vec<Ratio>,
}

impl Goal {
    fn is_met(self, value: f64) -> bool {
        match self {
            Self::AtLeast(goal) => value >= goal,
            Self::AtMost(goal) => value <= goal,
        }
    }

    fn text(self) -> String {
        match self {
            Self::AtLeast(goal) => format!("≥ {goal}"),
            Self::AtMost(goal) => format!("≤ {goal}"),
        }
    }
}

fn as_text<S: serde::Serializer>(goal: &Goal, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&goal.text())
}

impl Ratio {
    pub(super) fn is_met(&self) -> bool {
        self.goal.is_met(self.value)
    }

    fn shown(&self) -> String {
        let value = if self.value.fract() == 0.0 {
            format!("{}", self.value)
        } else {
            format!("{:.3}", self.value)
        };
        if self.unit.is_empty() { value } else { format!("{value} {}", self.unit) }
    }
}

impl Results {
    /// The page for people.
    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# {}, {}\n\n{}.\n\nSettings: `{}`.\n\n",
            self.of,
            self.date,
            self.machine.line(),
            self.settings
        );
        text.push_str("| | what | goal | measured | | method |\n|---|---|---|---|---|---|\n");
        for ratio in &self.ratios {
            let verdict = if ratio.is_met() { "met" } else { "**missed**" };
            let _ = writeln!(
                text,
                "| {} | {} | {} | {} | {verdict} | {} |",
                ratio.key,
                ratio.what,
                ratio.goal.text(),
                ratio.shown(),
                ratio.method
            );
        }
        text.push_str("\nComputed from:\n\n");
        for ratio in &self.ratios {
            let _ = writeln!(text, "- {}: `{}`", ratio.key, ratio.details);
        }
        text
    }

    /// Writes them to a folder, where there is one; shows the page to people, and one line with
    /// every key of `keys` to programs.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn publish(&self, folder: Option<&Path>, keys: &[&str]) -> Result<()> {
        if let Some(folder) = folder {
            self.write(folder)?;
        }
        eprintln!("\n{}", self.markdown());
        println!("{}", self.line(keys));
        Ok(())
    }

    /// One line with every key of `keys`; null for what was not measured.
    pub(super) fn line(&self, keys: &[&str]) -> String {
        let value = |key: &str| self.ratios.iter().find(|r| r.key == key).map(|r| r.value);
        let fields = keys.iter().map(|key| ((*key).to_owned(), serde_json::json!(value(key))));
        Value::Object(fields.collect()).to_string()
    }

    /// Writes what they are of and the date as JSON and as a page.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn write(&self, folder: &Path) -> Result<()> {
        let stem = format!("{}-{}", self.of.to_lowercase(), self.date);
        write_results(folder, &stem, self, &self.markdown()).map(drop)
    }
}

/// Writes both forms of results under the same stem, and returns the path of the JSON.
///
/// # Errors
/// When the folder cannot be written to.
pub(super) fn write_results(
    folder: &Path,
    stem: &str,
    results: &impl Serialize,
    markdown: &str,
) -> Result<PathBuf> {
    let json = folder.join(format!("{stem}.json"));
    write_whole(&json, &(serde_json::to_string_pretty(results)? + "\n"))?;
    write_whole(&folder.join(format!("{stem}.md")), markdown)?;
    Ok(json)
}

/// Writes a file that appears complete or not at all.
fn write_whole(path: &Path, text: &str) -> Result<()> {
    let unusable = || format!("{} cannot be written", path.display());
    let folder = path.parent().with_context(unusable)?;
    fs::create_dir_all(folder).with_context(unusable)?;
    let partial = path.with_extension("partial");
    fs::write(&partial, text).with_context(unusable)?;
    fs::rename(&partial, path).with_context(unusable)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ratio(key: &'static str, goal: Goal, value: f64) -> Ratio {
        let details = serde_json::json!({ "bare": 1.5 });
        Ratio { key, what: "what", unit: "ms", goal, value, method: "method", details }
    }

    fn results() -> Results {
        let machine = Machine {
            cpu: "a processor".to_owned(),
            cores: 2,
            memory_gib: 8,
            kernel: "6".to_owned(),
            rustc: "rustc 1".to_owned(),
            libtorch: "2".to_owned(),
            commit: "abc".to_owned(),
        };
        let ratios = vec![
            ratio("E1", Goal::AtLeast(0.95), 0.951),
            ratio("E3", Goal::AtMost(2.0), 2.5),
            ratio("E7", Goal::AtMost(0.0), 0.0),
        ];
        Results {
            of: "Service",
            date: "2026-01-31".to_owned(),
            machine,
            settings: Value::Null,
            ratios,
        }
    }

    #[test]
    fn a_miss_is_flagged_and_a_met_goal_is_not() {
        let text = results().markdown();
        let row = |key: &str| text.lines().find(|line| line.starts_with(key)).unwrap().to_owned();
        assert!(row("| E1").contains("| ≥ 0.95 | 0.951 ms | met |"), "{text}");
        assert!(row("| E3").contains("| ≤ 2 | 2.500 ms | **missed** |"), "{text}");
        assert!(row("| E7").contains("| ≤ 0 | 0 ms | met |"), "{text}");
        assert!(text.contains("a processor, 2 cores") && text.contains("- E3: `{\"bare\":1.5}`"));
    }

    #[test]
    fn the_line_has_every_key() {
        let line = results().line(&["E1", "E2", "E3"]);
        assert_eq!(line, r#"{"E1":0.951,"E2":null,"E3":2.5}"#);
    }

    #[test]
    fn both_files_appear_whole() {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().join("benches/results");
        results().write(&place).unwrap();
        let mut names: Vec<String> = fs::read_dir(&place)
            .unwrap()
            .map(|entry| entry.unwrap().file_name().into_string().unwrap())
            .collect();
        names.sort();
        assert_eq!(names, ["service-2026-01-31.json", "service-2026-01-31.md"]);
        let json: Value =
            serde_json::from_str(&fs::read_to_string(place.join(&names[0])).unwrap()).unwrap();
        assert_eq!(
            (&json["ratios"][1]["key"], &json["ratios"][1]["goal"]),
            (&"E3".into(), &"≤ 2".into())
        );
    }
}
