use std::time::Instant;

use super::saver::Saver;
use super::state::TrainingState;
use super::step::Learner;
use crate::interrupt::Interrupt;
use crate::log::{Record, RunLog};

/// What outlives the loop: the state on disk, the log, and the wish to stop.
#[derive(Debug)]
pub struct Keeping<'a> {
    /// Keeps the state.
    pub saver: &'a mut Saver,
    /// Takes the records.
    pub log: &'a mut RunLog,
    /// Asked between two steps.
    pub interrupt: &'a Interrupt,
}

impl Keeping<'_> {
    /// Saves a state and says so; whether it could. One that cannot be saved is no reason to lose
    /// the run: the last one stays.
    pub(super) fn save(&mut self, state: &TrainingState, learner: &Learner) -> bool {
        let started = Instant::now();
        let step = state.position.total_steps;
        self.log.write(step, &Record::Saving { step });
        let Err(error) = self.saver.save(state, learner) else {
            let seconds = started.elapsed().as_secs_f64();
            self.log.write(step, &Record::Saved { step, seconds });
            return true;
        };
        let kept = self.saver.kept().map(|path| path.display().to_string());
        let kept = kept.unwrap_or_else(|| "none".to_owned());
        let message = format!("step {step}: {error}; the last good state is {kept}");
        tracing::error!("{message}");
        self.log.write(step, &Record::Warning { message: &message });
        false
    }
}
