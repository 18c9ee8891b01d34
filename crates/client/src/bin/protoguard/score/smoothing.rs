//! The score that is served for video: every frame's sum of surprises with those before it.

use protoguard_core::{Detector, Smoother};

/// Smooths each video's frames, which come in order, one video after the other.
#[derive(Debug)]
pub(crate) struct Smoothing<'a> {
    /// None where the model has no such score.
    detector: Option<&'a Detector>,
    video: usize,
    smoother: Option<Smoother<'a>>,
}

impl<'a> Smoothing<'a> {
    pub(crate) fn new(detector: Option<&'a Detector>) -> Self {
        Self { detector, video: 0, smoother: None }
    }

    /// Takes the `surprise_sum` of a video's next frame and gives its smoothed surprise.
    pub(crate) fn push(&mut self, video: usize, sum: Option<f64>) -> Option<f64> {
        if self.video != video {
            (self.video, self.smoother) = (video, None);
        }
        let detector = self.detector?;
        let smoother = self.smoother.get_or_insert_with(|| detector.smoother());
        Some(smoother.push(sum?))
    }
}

#[cfg(test)]
mod tests {
    use protoguard_core::{CalibratedPart, Normal, Part};

    use super::*;

    /// Of a sum from 1 on, the smoothed surprise is the sum itself, half of which is kept.
    fn detector() -> Detector {
        let knots = vec![0.0, 1.0];
        let normal =
            Normal { knots, tail_share: 0.1, scale: 1.0 / std::f64::consts::LN_10, shape: 0.0 };
        let part = CalibratedPart {
            part: Part::Speed,
            weight: 1.0,
            trust: 1.0,
            slope: 0.0,
            normal: normal.clone(),
        };
        Detector {
            parts: vec![part],
            knee: 2.0,
            keep: 0.5,
            max_slope: 0.0,
            instant: normal.clone(),
            smoothed: normal,
            alarms: None,
        }
    }

    #[test]
    fn every_video_begins_anew() {
        let detector = detector();
        let mut smoothing = Smoothing::new(Some(&detector));
        let sums = [(0, 2.0), (0, 4.0), (0, 1.0), (1, 8.0), (1, 4.0)];
        let found = sums.map(|(video, sum)| smoothing.push(video, Some(sum)).unwrap());
        for (found, expected) in found.iter().zip([2.0, 3.0, 2.0, 8.0, 6.0]) {
            assert!((found - expected).abs() < 1e-12, "{found} for {expected}");
        }
    }

    #[test]
    fn without_a_detector_or_a_sum_there_is_nothing_to_smooth() {
        assert_eq!(Smoothing::new(None).push(0, Some(2.0)), None);
        assert_eq!(Smoothing::new(Some(&detector())).push(0, None), None);
    }
}
