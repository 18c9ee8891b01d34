use serde::Serialize;

/// A rate, and how far so much video fixes it.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct FalseAlarmRate {
    /// False alarms an hour.
    pub an_hour: f64,
    /// Lower end of the exact two-sided 95 % interval of a Poisson rate.
    pub low: f64,
    /// Its upper end: without any false alarm, 3.69 over the hours.
    pub high: f64,
    /// The normal video it rests on, in minutes.
    pub normal_minutes: f64,
}

/// The rate of `count` false alarms in `normal_minutes`; nothing unless those are more than none.
pub fn false_alarm_rate(count: usize, normal_minutes: f64) -> Option<FalseAlarmRate> {
    let hours = normal_minutes / 60.0;
    if !(hours > 0.0 && hours.is_finite()) {
        return None;
    }
    let tail = 0.025;
    let low = if count == 0 { 0.0 } else { mean_with_share_at_most(count - 1, 1.0 - tail) };
    let high = mean_with_share_at_most(count, tail);
    Some(FalseAlarmRate {
        an_hour: count as f64 / hours,
        low: low / hours,
        high: high / hours,
        normal_minutes,
    })
}

/// The mean at which a Poisson count is at most `count` with probability `share`, by bisection:
/// the probability falls as the mean rises.
fn mean_with_share_at_most(count: usize, share: f64) -> f64 {
    let (mut low, mut high) = (0.0, 2.0 * count as f64 + 20.0);
    for _ in 0..200 {
        let mean = (low + high) / 2.0;
        if poisson_at_most(count, mean) > share { low = mean } else { high = mean }
    }
    (low + high) / 2.0
}

/// P(count or fewer) for a mean, its terms as logarithms so that none underflows early.
fn poisson_at_most(count: usize, mean: f64) -> f64 {
    let mut log_term = -mean;
    let mut sum = log_term.exp();
    for k in 1..=count {
        log_term += (mean / k as f64).ln();
        sum += log_term.exp();
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_carry_the_exact_interval() {
        // Bounds of a Poisson mean from published tables: 0 gives (0, 3.6889), 5 gives
        // (1.6235, 11.6683), 100 gives (81.36, 121.63).
        for (count, low, high) in [(0, 0.0, 3.6889), (5, 1.6235, 11.6683), (100, 81.36, 121.63)] {
            let rate = false_alarm_rate(count, 30.0).unwrap();
            assert_eq!((rate.an_hour, rate.normal_minutes), (2.0 * count as f64, 30.0));
            assert!((rate.low / 2.0 - low).abs() < 0.01, "{rate:?}");
            assert!((rate.high / 2.0 - high).abs() < 0.01, "{rate:?}");
        }
        assert_eq!(false_alarm_rate(1, 0.0), None);
        assert_eq!(false_alarm_rate(1, f64::NAN), None);
        // Near 5000 ± 1.96 √5000, which is 4861 to 5139.
        let many = false_alarm_rate(5000, 60.0).unwrap();
        assert!((many.low - 4862.4).abs() < 0.1 && (many.high - 5140.5).abs() < 0.1, "{many:?}");
    }
}
