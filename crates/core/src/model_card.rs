use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::{Calibration, ClipShape, FrameInterval};

/// What a caller may know of a loaded model.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct ModelCard {
    /// The name that requests use.
    pub name: String,
    /// Hash of the checkpoint's content, so that two files of the same weights agree.
    pub version: String,
    /// Geometry of the clips it takes.
    pub shape: ClipShape,
    /// Channels of the network's first level, `W`.
    pub base_width: usize,
    /// Number of memory items, 0 for a model without memory.
    pub memory_items: usize,
    /// Whether RGB-difference maps can be asked for.
    pub motion_branch: bool,
    /// Numeric precision of the forward pass, such as `f32`.
    pub precision: String,
    /// Where the forward pass runs, such as `cpu` or `cuda:0`.
    pub device: String,
    /// Time between two frames of the video that it learnt; none where its checkpoint is of a time
    /// that did not record it.
    #[serde(default, rename = "frame_interval_ms", skip_serializing_if = "Option::is_none")]
    pub frame_interval: Option<FrameInterval>,
    /// What it was trained on, in the trainer's words.
    pub training_data: String,
    /// Figures the trainer recorded, such as the validation loss.
    pub metrics: BTreeMap<String, f64>,
    /// Bounds and thresholds; the first without a scene is the default.
    pub calibrations: Vec<Calibration>,
}

impl ModelCard {
    /// The calibration for a scene, or the one for all scenes where none is named.
    pub fn calibration(&self, scene: Option<&str>) -> Option<&Calibration> {
        self.calibrations.iter().find(|calibration| calibration.scene.as_deref() == scene)
    }

    /// The scenes that have a calibration of their own.
    pub fn scenes(&self) -> impl Iterator<Item = &str> {
        self.calibrations.iter().filter_map(|calibration| calibration.scene.as_deref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::PsnrDb;
    use crate::normalise::FrameScore;

    #[test]
    fn a_scene_has_its_own_calibration_and_none_is_all_scenes() {
        let held_out = [FrameScore { psnr: PsnrDb(30.0), feature_distance: None }];
        let made = |scene| Calibration::from_held_out(scene, &held_out, 0.6).unwrap();
        let card = ModelCard {
            name: "hall".to_owned(),
            version: String::new(),
            shape: ClipShape::new(4, 64).unwrap(),
            base_width: 64,
            memory_items: 10,
            motion_branch: true,
            precision: "f32".to_owned(),
            device: "cpu".to_owned(),
            frame_interval: None,
            training_data: String::new(),
            metrics: BTreeMap::new(),
            calibrations: vec![made(Some("gate")), made(None), made(Some("yard"))],
        };
        assert_eq!(card.scenes().collect::<Vec<_>>(), ["gate", "yard"]);
        assert_eq!(card.calibration(Some("yard")), Some(&card.calibrations[2]));
        assert_eq!(card.calibration(None), Some(&card.calibrations[1]));
        assert_eq!(card.calibration(Some("attic")), None);
    }
}
