use std::fmt;

use protoguard_core::normalise::{Bounds, Normaliser};
use protoguard_core::{
    Calibration, CameraBounds, ClipShape, FrameInterval, ModelCard, Regularity, ShapeError,
    Threshold,
};

use crate::detector::detector_from_wire;
use crate::v1;
use crate::zones::{zones_from_wire, zones_to_wire};

/// Which model a request asks for: `name` or `name@version`.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct ModelRef {
    /// The configured name.
    pub name: String,
    /// Content hash of the checkpoint, where the caller insists on one.
    pub version: Option<String>,
}

impl ModelRef {
    /// Splits `name` or `name@version`; nothing where either part is empty.
    pub fn parse(text: &str) -> Option<Self> {
        let (name, version) = match text.split_once('@') {
            Some((name, version)) => (name, Some(version)),
            None => (text, None),
        };
        if name.is_empty() || version.is_some_and(str::is_empty) {
            return None;
        }
        Some(Self { name: name.to_owned(), version: version.map(str::to_owned) })
    }
}

impl fmt::Display for ModelRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.version {
            Some(version) => write!(f, "{}@{version}", self.name),
            None => f.write_str(&self.name),
        }
    }
}

/// A model's description that lacks or contradicts something.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CardError {
    /// The geometry is none that a model can have.
    #[error("model `{name}`: {source}")]
    Shape {
        /// The model's name.
        name: String,
        /// What is wrong with its geometry.
        source: ShapeError,
    },
    /// A calibration came without its bounds.
    #[error("calibration `{id}` has no psnr_db; bounds in dB are expected")]
    Bounds {
        /// The calibration's identifier.
        id: String,
    },
}

impl From<&ModelCard> for v1::Model {
    fn from(card: &ModelCard) -> Self {
        Self {
            name: card.name.clone(),
            version: card.version.clone(),
            past_frames: wire_count(card.shape.past_frames()),
            side: wire_count(card.shape.side()),
            base_width: wire_count(card.base_width),
            memory_items: wire_count(card.memory_items),
            motion_branch: card.motion_branch,
            precision: card.precision.clone(),
            device: card.device.clone(),
            frame_interval_ms: card.frame_interval.map_or(0.0, FrameInterval::milliseconds),
            training_data: card.training_data.clone(),
            metrics: card.metrics.clone(),
            calibrations: card.calibrations.iter().map(v1::Calibration::from).collect(),
            // A card is that of a checkpoint, which does not know where it lies.
            ..Self::default()
        }
    }
}

impl From<&Calibration> for v1::Calibration {
    fn from(calibration: &Calibration) -> Self {
        let normaliser = &calibration.normaliser;
        Self {
            id: calibration.id.clone(),
            scene: calibration.scene.clone().unwrap_or_default(),
            frames: calibration.frames as u64,
            gamma: normaliser.gamma,
            psnr_db: Some(normaliser.psnr_db.into()),
            feature_distance: normaliser.feature_distance.map(v1::Bounds::from),
            thresholds: calibration.thresholds.iter().map(v1::Threshold::from).collect(),
            detector: calibration.detector.as_ref().map(v1::Detector::from),
            camera: calibration.camera.as_ref().map(v1::CameraBounds::from),
            zones: zones_to_wire(calibration.zones.as_ref()),
        }
    }
}

impl From<Bounds> for v1::Bounds {
    fn from(bounds: Bounds) -> Self {
        Self { low: bounds.low, high: bounds.high }
    }
}

impl From<v1::Bounds> for Bounds {
    fn from(bounds: v1::Bounds) -> Self {
        Self { low: bounds.low, high: bounds.high }
    }
}

impl From<&Threshold> for v1::Threshold {
    fn from(threshold: &Threshold) -> Self {
        Self { false_alarm_rate: threshold.false_alarm_rate, regularity: threshold.regularity.0 }
    }
}

impl From<&CameraBounds> for v1::CameraBounds {
    fn from(bounds: &CameraBounds) -> Self {
        Self {
            darkest: bounds.darkest,
            brightest: bounds.brightest,
            least_contrast: bounds.least_contrast,
            least_sharpness: bounds.least_sharpness,
            least_colour: bounds.least_colour,
            longest_still: bounds.longest_still as u64,
            layout: bounds.layout.clone(),
            least_likeness: bounds.least_likeness,
        }
    }
}

impl From<v1::CameraBounds> for CameraBounds {
    fn from(bounds: v1::CameraBounds) -> Self {
        Self {
            darkest: bounds.darkest,
            brightest: bounds.brightest,
            least_contrast: bounds.least_contrast,
            least_sharpness: bounds.least_sharpness,
            least_colour: bounds.least_colour,
            longest_still: usize::try_from(bounds.longest_still).unwrap_or(usize::MAX),
            layout: bounds.layout,
            least_likeness: bounds.least_likeness,
        }
    }
}

/// The card of a model that a server describes.
///
/// # Errors
/// When the geometry is impossible or a calibration lacks its bounds.
pub fn card_from_wire(model: v1::Model) -> Result<ModelCard, CardError> {
    let shape = ClipShape::new(model.past_frames as usize, model.side as usize)
        .map_err(|source| CardError::Shape { name: model.name.clone(), source })?;
    Ok(ModelCard {
        shape,
        name: model.name,
        version: model.version,
        base_width: model.base_width as usize,
        memory_items: model.memory_items as usize,
        motion_branch: model.motion_branch,
        precision: model.precision,
        device: model.device,
        frame_interval: FrameInterval::try_from(model.frame_interval_ms).ok(),
        training_data: model.training_data,
        metrics: model.metrics,
        calibrations: model
            .calibrations
            .into_iter()
            .map(calibration_from_wire)
            .collect::<Result<_, _>>()?,
    })
}

/// A calibration that a server describes.
///
/// # Errors
/// When it lacks the bounds of the PSNR.
pub fn calibration_from_wire(calibration: v1::Calibration) -> Result<Calibration, CardError> {
    let Some(psnr_db) = calibration.psnr_db else {
        return Err(CardError::Bounds { id: calibration.id });
    };
    Ok(Calibration {
        id: calibration.id,
        scene: (!calibration.scene.is_empty()).then_some(calibration.scene),
        frames: usize::try_from(calibration.frames).unwrap_or(usize::MAX),
        normaliser: Normaliser {
            psnr_db: psnr_db.into(),
            feature_distance: calibration.feature_distance.map(Bounds::from),
            gamma: calibration.gamma,
        },
        thresholds: calibration
            .thresholds
            .iter()
            .map(|threshold| Threshold {
                false_alarm_rate: threshold.false_alarm_rate,
                regularity: Regularity(threshold.regularity),
            })
            .collect(),
        detector: calibration.detector.and_then(detector_from_wire),
        camera: calibration.camera.map(CameraBounds::from),
        // Like a detector that this version does not know.
        zones: zones_from_wire(calibration.zones).unwrap_or_default(),
    })
}

/// Sizes of a model are far below 2³²; a larger one is stated as the largest.
fn wire_count(count: usize) -> u32 {
    u32::try_from(count).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protoguard_core::normalise::FrameScore;
    use protoguard_core::{Corner, FeatureDistance, PsnrDb, Zone, ZoneRule, Zones};

    fn card() -> ModelCard {
        let held_out: Vec<FrameScore> = (0..50)
            .map(|i| FrameScore {
                psnr: PsnrDb(30.0 + f64::from(i)),
                feature_distance: Some(FeatureDistance(0.2)),
            })
            .collect();
        ModelCard {
            name: "hall".to_owned(),
            version: "abc".to_owned(),
            shape: ClipShape::new(4, 64).unwrap(),
            base_width: 16,
            memory_items: 100,
            motion_branch: true,
            precision: "f32".to_owned(),
            device: "cpu".to_owned(),
            frame_interval: Some(40.0.try_into().unwrap()),
            training_data: "synthetic".to_owned(),
            metrics: [("validation_loss".to_owned(), 0.5)].into(),
            calibrations: vec![
                Calibration::from_held_out(None, &held_out, 0.6).unwrap(),
                Calibration::from_held_out(Some("hall"), &held_out, 0.6)
                    .unwrap()
                    .with_camera(camera())
                    .with_zones(Some(zones())),
            ],
        }
    }

    fn camera() -> CameraBounds {
        CameraBounds {
            darkest: 60.0,
            brightest: 140.0,
            least_contrast: 20.0,
            least_sharpness: 0.1,
            least_colour: 4.0,
            longest_still: 7,
            layout: vec![90.0; 256],
            least_likeness: 0.8,
        }
    }

    fn zones() -> Zones {
        let corner = |[x, y]: [f64; 2]| Corner { x, y };
        let polygon = [[0.0, 0.0], [0.25, 0.0], [0.25, 1.0]].map(corner).to_vec();
        let tree = Zone { name: "tree".to_owned(), rule: ZoneRule::Exclude, polygon };
        let road = Zone { name: "road".to_owned(), rule: ZoneRule::Include, ..tree.clone() };
        let polygon = [[0.0, 0.0], [1.0, 0.0], [1.0, 1.0]].map(corner).to_vec();
        Zones::try_from(vec![tree, Zone { polygon, ..road }]).unwrap()
    }

    #[test]
    fn a_card_survives_the_wire() {
        let card = card();
        assert_eq!(card_from_wire(v1::Model::from(&card)).unwrap(), card);
    }

    #[test]
    fn an_impossible_card_is_named() {
        let wire = v1::Model { side: 7, ..v1::Model::from(&card()) };
        let message = card_from_wire(wire).unwrap_err().to_string();
        assert_eq!(message, "model `hall`: side is 7; it must be a multiple of 8 from 16 to 2048");
        let mut wire = v1::Model::from(&card());
        wire.calibrations[1].psnr_db = None;
        let message = card_from_wire(wire).unwrap_err().to_string();
        assert_eq!(message, "calibration `hall` has no psnr_db; bounds in dB are expected");
    }

    #[test]
    fn a_reference_is_a_name_and_perhaps_a_version() {
        let whole = ModelRef::parse("hall@abc").unwrap();
        assert_eq!((whole.name.as_str(), whole.version.as_deref()), ("hall", Some("abc")));
        assert_eq!(whole.to_string(), "hall@abc");
        assert_eq!(ModelRef::parse("hall").unwrap().version, None);
        for broken in ["", "@abc", "hall@"] {
            assert_eq!(ModelRef::parse(broken), None);
        }
    }
}
