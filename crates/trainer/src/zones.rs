//! Where in the picture it matters: read from a file, and found by a video's scene.

use std::path::Path;

use anyhow::Context;
use protoguard_core::{Calibration, Zones};
use sha2::{Digest, Sha256};

use crate::evaluate::calibration_of;

/// Bytes of a hash that tell zones apart in a calibration's id.
const ID_BYTES: usize = 4;

/// Where in the picture it matters for videos of a scene; everywhere where that is none.
pub type OfScene<'a> = dyn Fn(Option<&str>) -> Option<&'a Zones> + 'a;

/// The zones that the calibration of a scene was made with, or that of all scenes where the scene has
/// none.
pub(crate) fn zones_of<'a>(
    calibrations: &'a [Calibration],
    scene: Option<&str>,
) -> Option<&'a Zones> {
    calibration_of(calibrations, scene)?.zones.as_ref()
}

/// Reads a JSON file of zones.
///
/// # Errors
/// When it cannot be read, or has no zones.
pub(crate) fn read(path: &Path) -> anyhow::Result<Zones> {
    let text = std::fs::read_to_string(path)
        .with_context(|| format!("--zones {} cannot be read", path.display()))?;
    serde_json::from_str(&text).with_context(|| {
        format!(
            "--zones {} has no zones; a list such as [{{\"name\": \"tree\", \"rule\": \"exclude\", \
             \"polygon\": [{{\"x\": 0, \"y\": 0}}, …]}}] is expected",
            path.display()
        )
    })
}

/// The calibration with zones, which its id tells apart from the same without.
pub(crate) fn with_zones(calibration: Calibration, zones: Option<&Zones>) -> Calibration {
    let Some(zones) = zones else { return calibration };
    let text = serde_json::to_vec(zones).unwrap_or_default();
    let hash = Sha256::digest(&text);
    let digits: String = hash[..ID_BYTES].iter().map(|byte| format!("{byte:02x}")).collect();
    let id = format!("{}+{digits}", calibration.id);
    Calibration { id, ..calibration }.with_zones(Some(zones.clone()))
}

#[cfg(test)]
mod tests {
    use protoguard_core::normalise::FrameScore;
    use protoguard_core::{ClipMaps, Corner, Plane, PsnrDb, Zone, ZoneRule};

    use super::*;

    #[test]
    fn a_scene_without_a_calibration_looks_where_all_scenes_do() {
        let corner = |[x, y]: [f64; 2]| Corner { x, y };
        let polygon = [[0.0, 0.0], [0.5, 0.0], [0.5, 1.0], [0.0, 1.0]].map(corner).to_vec();
        let left = Zone { name: "left".to_owned(), rule: ZoneRule::Exclude, polygon };
        let zones = Zones::try_from(vec![left]).unwrap();
        let held_out = [FrameScore { psnr: PsnrDb(30.0), feature_distance: None }];
        let made = |scene| Calibration::from_held_out(scene, &held_out, 0.6).unwrap();
        let calibrations = [with_zones(made(None), Some(&zones)), made(Some("gate"))];
        let plane = Plane { height: 1, width: 2, channels: 1, values: [3.0, 4.0].into() };
        let maps = ClipMaps {
            error: plane.clone(),
            moved: plane.clone(),
            speed: plane,
            feature_distance: None,
        };
        let seen = |scene| {
            let zones = zones_of(&calibrations, scene);
            Zones::weighed(zones, &maps).error.values.to_vec()
        };
        assert_eq!(seen(None), [0.0, 4.0]);
        assert_eq!(seen(Some("yard")), [0.0, 4.0]);
        assert_eq!(seen(Some("gate")), [3.0, 4.0]);
    }
}
