//! Bars on a terminal, nothing elsewhere: a log is no place for one.

use std::time::Duration;

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// A bar of `length` steps that shows the time left and a message of the caller's.
pub fn bar(length: u64, title: &str) -> ProgressBar {
    styled(length, &format!("{title:<12} [{{bar:30}}] {{pos}}/{{len}} {{eta}} left {{msg}}"))
}

/// The bar of a training run, whose time left is not in proportion to its steps: see [`Pace`].
pub(crate) fn training_bar(length: u64) -> ProgressBar {
    styled(length, "training     [{bar:30}] {pos}/{len} {msg}")
}

fn styled(length: u64, template: &str) -> ProgressBar {
    let style =
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
    ProgressBar::new(length).with_style(style.progress_chars("=> "))
}

/// A count of things done, for work whose length is not known.
pub fn count(title: &str, things: &str) -> ProgressBar {
    let template = format!("{title:<12} {{spinner}} {{pos}} {things}");
    let style = ProgressStyle::with_template(&template)
        .unwrap_or_else(|_| ProgressStyle::default_spinner());
    ProgressBar::no_length().with_style(style)
}

/// How long the rest of a run takes: its steps, the held-out clips after every epoch, and the
/// calibration at the end.
#[derive(Clone, Debug, Default)]
pub(crate) struct Pace {
    steps: u64,
    step_seconds: f64,
    /// Whether somebody was told.
    is_told: bool,
    held_out_seconds: Option<f64>,
    /// Before the first pass over the held-out clips, what it costs in steps.
    held_out_steps: f64,
    /// What the calibration costs in passes over the held-out clips.
    calibration: f64,
}

impl Pace {
    /// Steps that are too few to judge by: the first ones also warm up.
    const FEW: u64 = 3;
    /// Share of the newest step in the mean.
    const NEWEST: f64 = 0.05;

    /// Knows nothing yet; a pass over the held-out clips is taken to cost so many steps, and the
    /// calibration so many such passes.
    pub(crate) fn new(held_out_steps: f64, calibration: f64) -> Self {
        Self { held_out_steps, calibration, ..Self::default() }
    }

    /// Takes a step's time into account; old ones fade.
    pub(crate) fn step(&mut self, seconds: f64) {
        self.steps += 1;
        let share = if self.steps <= Self::FEW { 1.0 } else { Self::NEWEST };
        self.step_seconds += share * (seconds - self.step_seconds);
    }

    /// Forgets the steps, where the next ones take another time.
    pub(crate) fn restart(&mut self) {
        self.steps = 0;
        self.step_seconds = 0.0;
        self.is_told = false;
    }

    /// Takes a pass over the held-out clips into account.
    pub(crate) fn held_out(&mut self, seconds: f64) {
        self.held_out_seconds = Some(seconds);
    }

    /// Whether this is the first moment at which the time can be told, or can be told anew.
    pub(crate) fn is_first_estimate(&mut self) -> bool {
        self.steps >= Self::FEW && !std::mem::replace(&mut self.is_told, true)
    }

    /// What is left; nothing while it is too early to say.
    pub(crate) fn time_left(&self, steps: u64, epochs: u64) -> Option<Duration> {
        if self.steps < Self::FEW {
            return None;
        }
        let held_out = self.held_out_seconds.unwrap_or(self.held_out_steps * self.step_seconds);
        let seconds =
            steps as f64 * self.step_seconds + (epochs as f64 + self.calibration) * held_out;
        Some(Duration::from_secs_f64(seconds.max(0.0)))
    }

    /// The same in words.
    pub(crate) fn left(&self, steps: u64, epochs: u64) -> String {
        match self.time_left(steps, epochs) {
            Some(time) => format!("about {} left", HumanDuration(time)),
            None => "estimating".to_owned(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_left_counts_what_comes_after_the_steps() {
        let mut pace = Pace::new(10.0, 3.0);
        pace.step(9.0);
        assert_eq!(pace.left(100, 1), "estimating");
        pace.step(2.0);
        pace.step(2.0);
        assert!(pace.is_first_estimate() && !pace.is_first_estimate());
        // 100 steps of 2 s, and four times 10 steps' worth of held-out clips.
        assert_eq!(pace.time_left(100, 1), Some(Duration::from_secs(280)));
        pace.held_out(3500.0);
        assert_eq!(pace.left(100, 1), "about 4 hours left");
        pace.restart();
        assert_eq!(pace.time_left(100, 1), None);
        assert!(!pace.is_first_estimate());
        (0..3).for_each(|_| pace.step(10.0));
        assert_eq!(pace.time_left(100, 1), Some(Duration::from_secs(1000 + 4 * 3500)));
    }
}
