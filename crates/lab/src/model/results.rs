//! From times to ratios, a table and files.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use serde::Serialize;
use serde::ser::{SerializeMap, Serializer};
use serde_json::Value;

use super::EAGER;
use super::triton::Round;
use crate::machine::Machine;
use crate::peers::Question;
use crate::results::{median, write_results};

/// Seconds of every repetition by what was asked.
pub(super) type Cells = BTreeMap<Question, Vec<f64>>;

/// The median seconds of every round, by implementation and by what was asked.
#[derive(Clone, Debug, Default)]
pub(super) struct Times(BTreeMap<&'static str, Cells>);

/// The line that the command ends with; above 1 we are faster. Of several batch sizes the worst
/// one counts. What this processor does not compute is absent.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Line {
    bf16_full_vs_fastest_peer: Option<f64>,
    fastest_peer: Option<&'static str>,
    bf16_scores_vs_fastest_peer: Option<f64>,
    f32_full_vs_fastest_f32_peer: Option<f64>,
    /// Of our f32 and bf16 the faster, which `auto` takes.
    auto_full_vs_fastest_peer: Option<f64>,
    auto_scores_vs_fastest_peer: Option<f64>,
    bf16_full_vs_scores: Option<f64>,
    int8_full_vs_bf16: Option<f64>,
    int8_scores_vs_bf16: Option<f64>,
    /// Against the peers that compute what was trained, in whatever precision is fastest.
    int8_full_vs_fastest_peer: Option<f64>,
    training_step_vs_pytorch: Option<f64>,
    #[serde(rename = "E10_throughput")]
    e10_throughput: Option<f64>,
    #[serde(rename = "E10_p50")]
    e10_p50: Option<f64>,
}

/// What was measured so far.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Results {
    pub(super) date: String,
    pub(super) machine: Machine,
    pub(super) settings: Value,
    pub(super) times: Times,
    /// PyTorch's time ÷ ours.
    pub(super) training_step_vs_pytorch: Option<f64>,
    /// The peer that Triton computes with: the fastest that takes batches of any size.
    pub(super) triton_with: &'static str,
    /// Rounds of serving beside Triton.
    pub(super) served: Vec<Round>,
}

impl Times {
    /// One round of one implementation.
    pub(super) fn add(&mut self, name: &'static str, cells: Cells) -> Result<()> {
        for (question, seconds) in cells {
            let median = median(seconds).with_context(|| format!("{name} timed nothing"))?;
            self.0.entry(name).or_default().entry(question).or_default().push(median);
        }
        Ok(())
    }

    pub(super) fn line(&self, training_step_vs_pytorch: Option<f64>, served: &[Round]) -> Line {
        let of = |ratio: fn(&Round) -> f64| median(served.iter().map(ratio).collect());
        let any = |_: &str| true;
        let (bf16, auto) = (&["protoguard_bf16"][..], &["protoguard_bf16", "protoguard_f32"][..]);
        let f32 = |name: &str| name.contains("f32");
        let lone = Question { full: true, batch: self.batches().next().unwrap_or(1) };
        Line {
            bf16_full_vs_fastest_peer: self.worst(bf16, true, any),
            fastest_peer: self.fastest(lone, any).map(|(name, _)| name),
            bf16_scores_vs_fastest_peer: self.worst(bf16, false, any),
            f32_full_vs_fastest_f32_peer: self.worst(&["protoguard_f32"], true, f32),
            auto_full_vs_fastest_peer: self.worst(auto, true, any),
            auto_scores_vs_fastest_peer: self.worst(auto, false, any),
            bf16_full_vs_scores: self.own_scores_gain("protoguard_bf16"),
            int8_full_vs_bf16: self.int8_gain(true),
            int8_scores_vs_bf16: self.int8_gain(false),
            int8_full_vs_fastest_peer: self.worst(&["protoguard_int8"], true, any),
            training_step_vs_pytorch,
            e10_throughput: of(Round::throughput),
            e10_p50: of(Round::p50),
        }
    }

    /// The fastest of [`EAGER`] at the scores of a lone clip; where none was timed, the first that
    /// this processor computes.
    pub(super) fn fastest_eager(&self) -> &'static str {
        let lone = Question { full: false, batch: self.batches().next().unwrap_or(1) };
        let bf16 = self.0.contains_key("protoguard_bf16");
        let first = EAGER.into_iter().find(|name| bf16 || !name.contains("bf16"));
        let timed = self.fastest(lone, |name| EAGER.contains(&name)).map(|(name, _)| name);
        timed.or(first).unwrap_or(EAGER[0])
    }

    fn batches(&self) -> impl Iterator<Item = u32> {
        let questions = self.0.values().next().into_iter().flat_map(Cells::keys);
        questions.filter(|question| question.full).map(|question| question.batch)
    }

    fn median(&self, name: &str, question: Question) -> Option<f64> {
        median(self.0.get(name)?.get(&question)?.clone())
    }

    /// The fastest peer at a question, of those that `counts` admits.
    fn fastest(
        &self,
        question: Question,
        counts: impl Fn(&str) -> bool,
    ) -> Option<(&'static str, f64)> {
        let peers = self.0.keys().filter(|name| !name.starts_with("protoguard") && counts(name));
        let timed = peers.filter_map(|&name| Some((name, self.median(name, question)?)));
        timed.min_by(|a, b| a.1.total_cmp(&b.1))
    }

    /// The fastest peer's time ÷ that of the fastest of ours, at the batch size where that is least;
    /// nothing without either.
    fn worst(
        &self,
        ours: &[&str],
        full: bool,
        counts: impl Fn(&str) -> bool + Copy,
    ) -> Option<f64> {
        self.least(|batch| {
            let question = Question { full, batch };
            let own = ours.iter().filter_map(|ours| self.median(ours, question));
            let own = own.min_by(f64::total_cmp)?;
            Some(self.fastest(question, counts)?.1 / own)
        })
    }

    /// bf16's time ÷ int8's.
    fn int8_gain(&self, full: bool) -> Option<f64> {
        self.least(|batch| {
            let of = |name| self.median(name, Question { full, batch });
            Some(of("protoguard_bf16")? / of("protoguard_int8")?)
        })
    }

    /// Full output ÷ scores only.
    fn own_scores_gain(&self, name: &str) -> Option<f64> {
        self.least(|batch| {
            let of = |full| self.median(name, Question { full, batch });
            Some(of(true)? / of(false)?)
        })
    }

    /// A ratio at the batch size where it is least.
    fn least(&self, ratio: impl Fn(u32) -> Option<f64>) -> Option<f64> {
        self.batches().filter_map(ratio).min_by(f64::total_cmp)
    }
}

/// `{"openvino_bf16": {"full, batch 4": [seconds of every round]}}`.
impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.0.len()))?;
        for (name, cells) in &self.0 {
            let cells: BTreeMap<String, &Vec<f64>> =
                cells.iter().map(|(question, seconds)| (title(*question), seconds)).collect();
            map.serialize_entry(name, &cells)?;
        }
        map.end()
    }
}

fn title(question: Question) -> String {
    let outputs = if question.full { "full" } else { "scores" };
    format!("{outputs}, batch {}", question.batch)
}

/// A file: what was measured, and what comes of it.
#[derive(Debug, Serialize)]
struct Written<'a> {
    #[serde(flatten)]
    measured: &'a Results,
    line: Line,
}

impl Results {
    /// The ratios.
    pub(super) fn line(&self) -> Line {
        self.times.line(self.training_step_vs_pytorch, &self.served)
    }

    pub(super) fn markdown(&self) -> String {
        let mut text = format!(
            "# Forward pass, {}\n\n{}.\n\nSettings: `{}`.\n\n",
            self.date,
            self.machine.line(),
            self.settings
        );
        let line = self.line();
        let goals = [
            ("bf16, full: fastest peer ÷ ours", "≥ 1.10", line.bf16_full_vs_fastest_peer),
            ("bf16, scores: fastest peer ÷ ours", "≥ 1.07", line.bf16_scores_vs_fastest_peer),
            ("f32, full: fastest f32 peer ÷ ours", "≥ 1.07", line.f32_full_vs_fastest_f32_peer),
            ("f32 or bf16, full: fastest peer ÷ ours", "≥ 1.07", line.auto_full_vs_fastest_peer),
            (
                "f32 or bf16, scores: fastest peer ÷ ours",
                "≥ 1.07",
                line.auto_scores_vs_fastest_peer,
            ),
            ("bf16: our full ÷ our scores", "≥ 1.45", line.bf16_full_vs_scores),
            ("int8, full: our bf16 ÷ ours", "≥ 1.7", line.int8_full_vs_bf16),
            ("int8, scores: our bf16 ÷ ours", "≥ 1.7", line.int8_scores_vs_bf16),
            ("int8, full: fastest peer ÷ ours", "–", line.int8_full_vs_fastest_peer),
            ("training step: PyTorch's ÷ ours", "≥ 1.05", line.training_step_vs_pytorch),
            ("E10: our served clips/s ÷ Triton's", "> 1", line.e10_throughput),
            ("E10: Triton's p50 of a lone caller ÷ ours", "> 1", line.e10_p50),
        ];
        text.push_str("| what | goal | measured |\n|---|---|---|\n");
        for (what, goal, value) in goals {
            let value = value.map_or_else(|| "–".to_owned(), |value| format!("{value:.3}"));
            let _ = writeln!(text, "| {what} | {goal} | {value} |");
        }
        text.push_str("\nMilliseconds a clip, median of the rounds (least to most):\n\n| |");
        let questions: Vec<Question> = self
            .times
            .0
            .values()
            .next()
            .into_iter()
            .flat_map(|cells| cells.keys().copied())
            .collect();
        for question in &questions {
            let _ = write!(text, " {} |", title(*question));
        }
        let _ = write!(text, "\n|---|{}", "---|".repeat(questions.len()));
        for (name, cells) in &self.times.0 {
            let _ = write!(text, "\n| {name} |");
            for question in &questions {
                let _ = write!(text, " {} |", shown(*question, cells.get(question)));
            }
        }
        text.push('\n');
        text
    }

    /// Writes `model-DATE.json` and `model-DATE.md`; gives the first.
    ///
    /// # Errors
    /// When the folder cannot be written to.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        let written = Written { measured: self, line: self.line() };
        write_results(folder, &format!("model-{}", self.date), &written, &self.markdown())
    }
}

fn shown(question: Question, seconds: Option<&Vec<f64>>) -> String {
    let a_clip = |seconds: f64| 1e3 * seconds / f64::from(question.batch);
    let Some(median) = seconds.and_then(|seconds| median(seconds.clone())) else {
        return "–".to_owned();
    };
    let all = || seconds.into_iter().flatten().copied();
    let (least, most) = (all().fold(f64::INFINITY, f64::min), all().fold(0.0, f64::max));
    format!("{:.1} ({:.1} to {:.1})", a_clip(median), a_clip(least), a_clip(most))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cells(seconds: [f64; 4]) -> Cells {
        let questions = [(false, 1), (false, 4), (true, 1), (true, 4)];
        let cells = questions.into_iter().zip(seconds);
        cells.map(|((full, batch), seconds)| (Question { full, batch }, vec![seconds])).collect()
    }

    fn times() -> Times {
        let mut times = Times::default();
        for seconds in [[1.0, 3.0, 2.0, 6.0], [1.2, 3.0, 2.0, 6.0], [0.9, 3.0, 2.0, 6.0]] {
            times.add("protoguard_bf16", cells(seconds)).unwrap();
        }
        times.add("protoguard_f32", cells([2.0, 6.0, 4.0, 12.0])).unwrap();
        times.add("protoguard_int8", cells([0.5, 1.5, 1.0, 4.0])).unwrap();
        times.add("openvino_bf16", cells([1.1, 3.6, 2.4, 6.6])).unwrap();
        times.add("openvino_f32", cells([3.0, 9.0, 5.0, 15.0])).unwrap();
        times
    }

    #[test]
    fn the_worst_batch_size_counts_against_the_fastest_peer() {
        let line = times().line(None, &[]);
        let close = |value: Option<f64>, expected: f64| (value.unwrap() - expected).abs() < 1e-9;
        assert!(close(line.bf16_full_vs_fastest_peer, 1.1), "{line:?}");
        assert!(close(line.bf16_scores_vs_fastest_peer, 1.1), "{line:?}");
        assert!(close(line.f32_full_vs_fastest_f32_peer, 1.25), "{line:?}");
        assert!(close(line.auto_full_vs_fastest_peer, 1.1), "{line:?}");
        assert!(close(line.bf16_full_vs_scores, 2.0), "{line:?}");
        assert_eq!((line.int8_scores_vs_bf16, line.int8_full_vs_bf16), (Some(2.0), Some(1.5)));
        assert_eq!(line.fastest_peer, Some("openvino_bf16"));
    }

    #[test]
    fn without_peers_there_is_no_ratio() {
        let mut alone = Times::default();
        alone.add("protoguard_bf16", cells([1.0, 3.0, 2.0, 6.0])).unwrap();
        alone.add("protoguard_f32", cells([1.0, 3.0, 2.0, 6.0])).unwrap();
        alone.add("protoguard_int8", cells([1.0, 3.0, 2.0, 6.0])).unwrap();
        let line = alone.line(Some(1.5), &[]);
        assert_eq!((line.fastest_peer, line.bf16_full_vs_fastest_peer), (None, None));
        assert_eq!(alone.fastest_eager(), "pytorch_bf16_folded");
        alone.add("pytorch_f32", cells([1.0, 3.0, 2.0, 6.0])).unwrap();
        assert_eq!(alone.fastest_eager(), "pytorch_f32");
    }

    #[test]
    fn what_a_processor_does_not_compute_is_absent() {
        let mut narrow = times();
        narrow.0.retain(|name, _| !name.contains("bf16"));
        let line = narrow.line(None, &[]);
        assert_eq!((line.bf16_full_vs_fastest_peer, line.bf16_full_vs_scores), (None, None));
        assert_eq!((line.int8_full_vs_bf16, line.int8_scores_vs_bf16), (None, None));
        assert_eq!(line.auto_full_vs_fastest_peer, line.f32_full_vs_fastest_f32_peer);
        assert_eq!(line.fastest_peer, Some("openvino_f32"));
        assert_eq!(narrow.fastest_eager(), "pytorch_f32_channels_last");
    }

    #[test]
    fn times_are_shown_a_clip() {
        let question = Question { full: true, batch: 4 };
        assert_eq!(shown(question, Some(&vec![0.4, 0.8, 0.6])), "150.0 (100.0 to 200.0)");
        assert_eq!(shown(question, None), "–");
        let json = serde_json::to_value(times()).unwrap();
        assert_eq!(json["openvino_f32"]["full, batch 4"][0], 15.0);
    }
}
