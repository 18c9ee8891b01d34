//! Frame-level metrics of a ranking: ROC, precision, error rates at a threshold.

use serde::Serialize;

use super::MetricError;

/// Area under the ROC curve by the rank statistic: the share of (abnormal, normal) pairs in which
/// the abnormal frame scores higher, a tie counting half.
///
/// # Errors
/// When one class is missing (never 0.5), the lengths differ, or a score is NaN.
///
/// ```
/// use protoguard_core::metrics::roc_auc;
/// assert_eq!(roc_auc(&[0.1, 0.4, 0.4, 0.9], &[false, false, true, true]), Ok(0.875));
/// ```
pub fn roc_auc(scores: &[f64], labels: &[bool]) -> Result<f64, MetricError> {
    let curve = RocCurve::new(scores, labels)?;
    let (positives, negatives) = (curve.positives as f64, curve.negatives as f64);
    let area: f64 = steps(&curve.points)
        .map(|(from, to)| {
            (to.false_alarms - from.false_alarms) as f64 * (to.hits + from.hits) as f64 / 2.0
        })
        .sum();
    Ok(area / positives / negatives)
}

/// Average precision: precision at every distinct threshold, weighted by the recall it adds.
///
/// # Errors
/// As [`roc_auc`].
pub fn average_precision(scores: &[f64], labels: &[bool]) -> Result<f64, MetricError> {
    let curve = RocCurve::new(scores, labels)?;
    let sum: f64 = steps(&curve.points)
        .map(|(from, to)| {
            let precision = to.hits as f64 / (to.hits + to.false_alarms) as f64;
            precision * (to.hits - from.hits) as f64
        })
        .sum();
    Ok(sum / curve.positives as f64)
}

/// Equal error rate: where the share of missed abnormal frames meets the share of normal frames
/// called abnormal, by linear interpolation on the ROC curve.
///
/// # Errors
/// As [`roc_auc`].
pub fn equal_error_rate(scores: &[f64], labels: &[bool]) -> Result<f64, MetricError> {
    let curve = RocCurve::new(scores, labels)?;
    let rates = |point: &RocPoint| {
        let false_alarm = point.false_alarms as f64 / curve.negatives as f64;
        let miss = 1.0 - point.hits as f64 / curve.positives as f64;
        (false_alarm, miss)
    };
    // The difference rises at every step, from -1 at the first point to +1 at the last, so one step
    // crosses 0.
    for (from, to) in steps(&curve.points) {
        let ((fa0, miss0), (fa1, miss1)) = (rates(from), rates(to));
        let (d0, d1) = (fa0 - miss0, fa1 - miss1);
        if d1 >= 0.0 {
            let share = -d0 / (d1 - d0);
            return Ok(fa0 + share * (fa1 - fa0));
        }
    }
    unreachable!("the curve ends with every frame called abnormal, where the difference is +1")
}

/// Shares of abnormal and of normal frames that score above a threshold.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct DetectionRates {
    /// Share of abnormal frames found.
    pub true_positive_rate: f64,
    /// Share of normal frames wrongly called abnormal.
    pub false_positive_rate: f64,
}

/// Rates at a fixed threshold on the anomaly score.
///
/// # Errors
/// As [`roc_auc`].
pub fn rates_above(
    scores: &[f64],
    labels: &[bool],
    threshold: f64,
) -> Result<DetectionRates, MetricError> {
    let (positives, negatives) = check(scores, labels)?;
    let above = |class: bool| {
        scores
            .iter()
            .zip(labels)
            .filter(|&(&score, &label)| label == class && score > threshold)
            .count() as f64
    };
    Ok(DetectionRates {
        true_positive_rate: above(true) / positives as f64,
        false_positive_rate: above(false) / negatives as f64,
    })
}

/// Mean AUC over the videos that have both classes.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct MacroAuc {
    /// The mean.
    pub auc: f64,
    /// How many videos have both classes.
    pub videos: usize,
}

/// Mean AUC over two-class videos, or nothing where no video has both classes.
pub fn macro_auc<'a>(
    videos: impl IntoIterator<Item = (&'a [f64], &'a [bool])>,
) -> Option<MacroAuc> {
    let areas: Vec<f64> =
        videos.into_iter().filter_map(|(scores, labels)| roc_auc(scores, labels).ok()).collect();
    let videos = areas.len();
    (videos > 0).then(|| MacroAuc { auc: areas.iter().sum::<f64>() / videos as f64, videos })
}

/// The ROC curve as counts, from no frame called abnormal to all of them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RocCurve {
    /// One point for each distinct score, after the origin.
    pub points: Vec<RocPoint>,
    /// Number of abnormal frames.
    pub positives: usize,
    /// Number of normal frames.
    pub negatives: usize,
}

/// How many frames score at or above some threshold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RocPoint {
    /// Abnormal frames among them.
    pub hits: usize,
    /// Normal frames among them.
    pub false_alarms: usize,
}

impl RocCurve {
    /// The curve of `scores` against `labels`; frames of equal score enter together.
    ///
    /// # Errors
    /// As [`roc_auc`].
    pub fn new(scores: &[f64], labels: &[bool]) -> Result<Self, MetricError> {
        let (positives, negatives) = check(scores, labels)?;
        let mut order: Vec<usize> = (0..scores.len()).collect();
        order.sort_by(|&a, &b| scores[b].total_cmp(&scores[a]));
        let mut points = vec![RocPoint { hits: 0, false_alarms: 0 }];
        let mut now = points[0];
        for (position, &frame) in order.iter().enumerate() {
            if labels[frame] {
                now.hits += 1
            } else {
                now.false_alarms += 1
            }
            let ends_tie =
                order.get(position + 1).is_none_or(|&next| scores[next] != scores[frame]);
            if ends_tie {
                points.push(now);
            }
        }
        Ok(Self { points, positives, negatives })
    }
}

fn steps(points: &[RocPoint]) -> impl Iterator<Item = (&RocPoint, &RocPoint)> {
    points.iter().zip(&points[1..])
}

fn check(scores: &[f64], labels: &[bool]) -> Result<(usize, usize), MetricError> {
    if scores.len() != labels.len() {
        return Err(MetricError::Length { scores: scores.len(), labels: labels.len() });
    }
    if let Some(index) = scores.iter().position(|score| score.is_nan()) {
        return Err(MetricError::NotANumber { index });
    }
    let positives = labels.iter().filter(|&&label| label).count();
    let negatives = labels.len() - positives;
    if positives == 0 || negatives == 0 {
        let only = if positives == 0 { "normal" } else { "abnormal" };
        return Err(MetricError::OneClass { frames: labels.len(), only });
    }
    Ok((positives, negatives))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LABELS: [bool; 4] = [false, false, true, true];

    #[test]
    fn auc_of_hand_computed_cases() {
        assert_eq!(roc_auc(&[0.1, 0.2, 0.3, 0.4], &LABELS), Ok(1.0));
        assert_eq!(roc_auc(&[0.4, 0.3, 0.2, 0.1], &LABELS), Ok(0.0));
        assert_eq!(roc_auc(&[0.1, 0.4, 0.35, 0.8], &LABELS), Ok(0.75));
        // All tied: every pair counts half.
        assert_eq!(roc_auc(&[0.5; 4], &LABELS), Ok(0.5));
        // Pairs (0.4, 0.1) (0.9, 0.1) (0.9, 0.4) won and (0.4, 0.4) tied: 3.5 of 4.
        assert_eq!(roc_auc(&[0.1, 0.4, 0.4, 0.9], &LABELS), Ok(0.875));
    }

    #[test]
    fn one_class_is_an_error_and_never_a_half() {
        let error = roc_auc(&[0.1, 0.2], &[true, true]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "all 2 frames are abnormal; both normal and abnormal frames are needed"
        );
        assert_eq!(
            roc_auc(&[], &[]).unwrap_err(),
            MetricError::OneClass { frames: 0, only: "normal" }
        );
        assert_eq!(
            roc_auc(&[0.1], &[true, false]).unwrap_err(),
            MetricError::Length { scores: 1, labels: 2 }
        );
        assert_eq!(
            roc_auc(&[0.1, f64::NAN], &[true, false]).unwrap_err(),
            MetricError::NotANumber { index: 1 }
        );
    }

    #[test]
    fn average_precision_of_a_hand_computed_case() {
        // Sorted: 0.8 hit (1/1), 0.4 miss, 0.35 hit (2/3), 0.1 miss: (1 + 2/3) / 2.
        let found = average_precision(&[0.1, 0.4, 0.35, 0.8], &LABELS).unwrap();
        assert!((found - 5.0 / 6.0).abs() < 1e-12);
    }

    #[test]
    fn equal_error_rate_of_hand_computed_cases() {
        assert_eq!(equal_error_rate(&[0.1, 0.2, 0.3, 0.4], &LABELS), Ok(0.0));
        assert_eq!(equal_error_rate(&[0.1, 0.4, 0.35, 0.8], &LABELS), Ok(0.5));
        assert_eq!(equal_error_rate(&[0.5; 4], &LABELS), Ok(0.5));
        // Three abnormal frames and four normal ones; the false alarms rise from 1/4 to 2/4 and the
        // misses fall from 2/3 to 0 where three frames are tied: both are 4/11 after 5/11 of it.
        let scores = [0.95, 0.9, 0.8, 0.8, 0.8, 0.4, 0.3];
        let labels = [false, true, true, true, false, false, false];
        assert!((equal_error_rate(&scores, &labels).unwrap() - 4.0 / 11.0).abs() < 1e-12);
    }

    #[test]
    fn rates_and_macro_mean() {
        let rates = rates_above(&[0.1, 0.4, 0.35, 0.8], &LABELS, 0.3).unwrap();
        assert_eq!((rates.true_positive_rate, rates.false_positive_rate), (1.0, 0.5));
        // A frame at the threshold is not above it.
        let rates = rates_above(&[0.1, 0.4, 0.35, 0.8], &LABELS, 0.35).unwrap();
        assert_eq!((rates.true_positive_rate, rates.false_positive_rate), (0.5, 0.5));
        let good: (&[f64], &[bool]) = (&[0.1, 0.2], &[false, true]);
        let bad: (&[f64], &[bool]) = (&[0.2, 0.1], &[false, true]);
        let single: (&[f64], &[bool]) = (&[0.2], &[true]);
        assert_eq!(macro_auc([good, bad, single]), Some(MacroAuc { auc: 0.5, videos: 2 }));
        assert_eq!(macro_auc([single]), None);
    }

    proptest! {
        #[test]
        fn auc_is_the_share_of_pairs(
            frames in proptest::collection::vec((0u8..6, any::<bool>()), 2..60)
        ) {
            let scores: Vec<f64> = frames.iter().map(|f| f64::from(f.0)).collect();
            let labels: Vec<bool> = frames.iter().map(|f| f.1).collect();
            let (mut won, mut pairs) = (0.0, 0.0);
            for (i, &abnormal) in scores.iter().enumerate().filter(|&(i, _)| labels[i]) {
                for (j, &normal) in scores.iter().enumerate().filter(|&(j, _)| !labels[j]) {
                    prop_assert_ne!(i, j);
                    pairs += 1.0;
                    won += if abnormal > normal { 1.0 } else if abnormal == normal { 0.5 } else { 0.0 };
                }
            }
            prop_assume!(pairs > 0.0);
            prop_assert!((roc_auc(&scores, &labels).unwrap() - won / pairs).abs() < 1e-12);
        }

        #[test]
        fn auc_of_negated_scores_is_the_complement(
            frames in proptest::collection::vec((-5.0..5.0f64, any::<bool>()), 2..60)
        ) {
            let scores: Vec<f64> = frames.iter().map(|f| f.0).collect();
            let negated: Vec<f64> = scores.iter().map(|s| -s).collect();
            let labels: Vec<bool> = frames.iter().map(|f| f.1).collect();
            prop_assume!(labels.contains(&true) && labels.contains(&false));
            let sum = roc_auc(&scores, &labels).unwrap() + roc_auc(&negated, &labels).unwrap();
            prop_assert!((sum - 1.0).abs() < 1e-12);
        }
    }
}
