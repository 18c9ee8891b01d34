//! The served score's detector, to the wire and back.

use protoguard_core::{AlarmFrequency, CalibratedPart, Detector, Normal, Part};

use crate::v1;

impl From<Part> for v1::Part {
    fn from(part: Part) -> Self {
        match part {
            Part::PredictionError => Self::PredictionError,
            Part::LargestError => Self::LargestError,
            Part::RelativeError => Self::RelativeError,
            Part::Speed => Self::Speed,
            Part::FeatureDistance => Self::FeatureDistance,
        }
    }
}

/// Nothing for a part that this version does not know.
pub fn part_from_wire(part: v1::Part) -> Option<Part> {
    match part {
        v1::Part::Unspecified => None,
        v1::Part::PredictionError => Some(Part::PredictionError),
        v1::Part::LargestError => Some(Part::LargestError),
        v1::Part::RelativeError => Some(Part::RelativeError),
        v1::Part::Speed => Some(Part::Speed),
        v1::Part::FeatureDistance => Some(Part::FeatureDistance),
    }
}

impl From<&Normal> for v1::Distribution {
    fn from(normal: &Normal) -> Self {
        let Normal { knots, tail_share, scale, shape } = normal;
        Self { knots: knots.clone(), tail_share: *tail_share, scale: *scale, shape: *shape }
    }
}

impl From<v1::Distribution> for Normal {
    fn from(distribution: v1::Distribution) -> Self {
        let v1::Distribution { knots, tail_share, scale, shape } = distribution;
        Self { knots, tail_share, scale, shape }
    }
}

impl From<AlarmFrequency> for v1::AlarmFrequency {
    fn from(found: AlarmFrequency) -> Self {
        let AlarmFrequency { per_unusual_frame, alarms, frames } = found;
        Self { per_unusual_frame, alarms: alarms as u64, frames: frames as u64 }
    }
}

impl From<v1::AlarmFrequency> for AlarmFrequency {
    fn from(found: v1::AlarmFrequency) -> Self {
        let v1::AlarmFrequency { per_unusual_frame, alarms, frames } = found;
        Self { per_unusual_frame, alarms: alarms as usize, frames: frames as usize }
    }
}

impl From<&Detector> for v1::Detector {
    fn from(detector: &Detector) -> Self {
        let part = |of: &CalibratedPart| v1::DetectorPart {
            part: v1::Part::from(of.part).into(),
            weight: of.weight,
            trust: of.trust,
            slope: of.slope,
            normal: Some((&of.normal).into()),
        };
        Self {
            parts: detector.parts.iter().map(part).collect(),
            keep: detector.keep,
            knee: detector.knee,
            max_slope: detector.max_slope,
            instant: Some((&detector.instant).into()),
            smoothed: Some((&detector.smoothed).into()),
            alarms: detector.alarms.map(Into::into),
        }
    }
}

/// The detector that a server describes; nothing where something is missing, out of bounds, or of
/// a later version.
pub(crate) fn detector_from_wire(detector: v1::Detector) -> Option<Detector> {
    let part = |of: v1::DetectorPart| {
        let part = part_from_wire(of.part())?;
        let v1::DetectorPart { weight, trust, slope, .. } = of;
        Some(CalibratedPart { part, weight, trust, slope, normal: of.normal?.into() })
    };
    let detector = Detector {
        parts: detector.parts.into_iter().map(part).collect::<Option<_>>()?,
        knee: detector.knee,
        keep: detector.keep,
        max_slope: detector.max_slope,
        instant: detector.instant?.into(),
        smoothed: detector.smoothed?.into(),
        alarms: detector.alarms.map(Into::into),
    };
    Some(detector).filter(Detector::is_valid)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn detector() -> Detector {
        let values: Vec<f64> = (0..100).map(f64::from).collect();
        let normal = Normal::fit(&values).unwrap();
        let part = |part| {
            let normal = normal.clone();
            CalibratedPart { part, weight: 0.5, trust: 0.25, slope: 0.75, normal }
        };
        Detector {
            parts: Part::ALL.map(part).into(),
            knee: 2.5,
            keep: 0.7,
            max_slope: 1.5,
            instant: normal.clone(),
            smoothed: normal,
            alarms: Some(AlarmFrequency { per_unusual_frame: 0.25, alarms: 21, frames: 5000 }),
        }
    }

    #[test]
    fn a_detector_comes_back_as_it_went() {
        let detector = detector();
        assert_eq!(detector_from_wire((&detector).into()), Some(detector));
    }

    #[test]
    fn what_is_no_detector_is_none() {
        let wire = || v1::Detector::from(&detector());
        assert_eq!(detector_from_wire(v1::Detector { smoothed: None, ..wire() }), None);
        assert_eq!(detector_from_wire(v1::Detector { keep: 1.0, ..wire() }), None);
        let mut unknown = wire();
        unknown.parts[1].part = 99;
        assert_eq!(detector_from_wire(unknown), None);
    }
}
