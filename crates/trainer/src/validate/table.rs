use std::fmt::{self, Display, Formatter};

use protoguard_datasets::anomalies::InsertedKind;

use super::{Found, ScoreMetrics, ValidationReport};
use crate::evaluate::{Score, ThresholdOrigin};

/// Prints a report as plain text.
#[derive(Clone, Copy, Debug)]
pub struct ValidationTable<'a>(pub &'a ValidationReport);

impl Display for ValidationTable<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let report = self.0;
        let events: usize = report.events.values().sum();
        writeln!(f, "model {} on normal video of {}", report.model, report.data)?;
        writeln!(
            f,
            "{events} anomalies put in (seed {}), {} frames scored, {} abnormal",
            report.seed, report.frames, report.abnormal
        )?;
        self.block(f, "AUC, one scale for all", |found| format!("{:.4}", found.auc_global))?;
        self.block(f, "found above a surprise of 2", |found| format!("{:.3}", found.tpr))?;
        writeln!(
            f,
            "false alarms: share of normal frames above it, among them those after an event, and those that the bound was calibrated on"
        )?;
        let upper = |found: &ScoreMetrics| found.threshold_from == ThresholdOrigin::TestFrames;
        if report.scores.values().any(upper) {
            writeln!(
                f,
                "* above 1 % of these normal frames instead: no such bound was calibrated"
            )?;
        }
        match report.skipped.as_slice() {
            [] => Ok(()),
            [first, ..] => writeln!(f, "{} not put in, the first: {first}", report.skipped.len()),
        }
    }
}

impl ValidationTable<'_> {
    fn block(
        &self,
        f: &mut Formatter<'_>,
        title: &str,
        cell: impl Fn(&Found) -> String,
    ) -> fmt::Result {
        write!(f, "\n{title:<31}{:>8}", "all")?;
        InsertedKind::ALL.iter().try_for_each(|kind| write!(f, "{:>15}", kind.to_string()))?;
        writeln!(f, "{:>14}", "false alarms")?;
        for score in Score::all() {
            let Some(found) = self.0.scores.get(score.name()) else { continue };
            write!(f, "{:<31}{:>8}", found.title, cell(&found.all))?;
            for kind in InsertedKind::ALL {
                let cell = found.kinds.get(&kind).map_or("-".to_owned(), &cell);
                write!(f, "{cell:>15}")?;
            }
            let mark = if found.threshold_from == ThresholdOrigin::TestFrames { '*' } else { ' ' };
            writeln!(f, "{:>13.3}{mark}", found.fpr)?;
        }
        Ok(())
    }
}
