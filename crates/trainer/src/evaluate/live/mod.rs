//! The alarm as a camera's operator meets it: what it ranks, finds, misses and raises for nothing,
//! beside its parts and beside what needs no model.

mod alarm;
mod promise;
mod regions;
mod row;
mod score;

use protoguard_core::metrics::{FalseAlarmRate, MetricError};
use serde::Serialize;

pub use alarm::{Alarm, FALSE_ALARM_RATE};
pub use promise::Promise;
pub use regions::Regions;
pub use row::{Margins, RowRates, ScoreRow, ThresholdOrigin};
pub use score::{Candidate, Score};

use super::measured::{Beside, Measured};

/// How good the live alarm is, and everything that it is to be compared with.
#[derive(Clone, Debug, Default, Serialize)]
pub struct LiveReport {
    /// One row a score, in the order of [`Score::all`].
    pub rows: Vec<ScoreRow>,
    /// What the served score's alarm does; absent where the checkpoint has no detector.
    pub alarm: Option<Alarm>,
    /// How often it is false; absent where the frame rate is not known.
    pub false_alarm_rate: Option<FalseAlarmRate>,
    /// What comes of the false alarms an hour that an operator asks for; empty where the frame rate
    /// is not known.
    pub promises: Vec<Promise>,
    /// Whether it points at the right place; absent without masks.
    pub regions: Option<Regions>,
}

impl LiveReport {
    /// Computes everything that the scores and what is known beside them give.
    ///
    /// # Errors
    /// When the frames are all of one class, or scores and labels disagree in number.
    pub fn new(measured: &Measured<'_>, beside: &Beside) -> Result<Self, MetricError> {
        let rows = Score::all()
            .filter_map(|score| Candidate::of(score, measured))
            .map(|candidate| ScoreRow::new(&candidate, measured.labels));
        let alarm = Alarm::of(measured)?;
        let rate = |alarm: &Alarm| {
            let seconds_per_frame = 1.0 / beside.frames_per_second?;
            alarm.events.false_alarm_rate(seconds_per_frame)
        };
        Ok(Self {
            rows: rows.collect::<Result<_, _>>()?,
            false_alarm_rate: alarm.as_ref().and_then(rate),
            alarm,
            promises: Promise::all(measured, beside.frames_per_second)?,
            regions: Regions::of(measured, &beside.masks)?,
        })
    }

    /// The row of a score, where there is one.
    pub fn row(&self, score: Score) -> Option<&ScoreRow> {
        self.rows.iter().find(|row| row.score == score)
    }
}
