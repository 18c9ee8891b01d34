use std::f64::consts::PI;

/// Cosine annealing to zero over a run, stepped by epoch.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct CosineSchedule {
    /// Learning rate of the first epoch.
    pub learning_rate: f64,
    /// Epochs of the run.
    pub epochs: u64,
}

impl CosineSchedule {
    /// Learning rate during `epoch`, counted from 0: `lr (1 + cos(pi epoch / epochs)) / 2`.
    pub fn at(self, epoch: u64) -> f64 {
        let share = epoch as f64 / self.epochs.max(1) as f64;
        self.learning_rate * (1.0 + (PI * share.min(1.0)).cos()) / 2.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn falls_from_the_full_rate_to_zero() {
        let schedule = CosineSchedule { learning_rate: 2e-4, epochs: 60 };
        assert_eq!(schedule.at(0), 2e-4);
        assert!((schedule.at(30) - 1e-4).abs() < 1e-18);
        assert!(schedule.at(59) > 0.0 && schedule.at(59) < 1e-6);
        assert!(schedule.at(60).abs() < 1e-18);
    }
}
