use serde::{Deserialize, Serialize};

use crate::{ClipMaps, Plane};

macro_rules! score_newtype {
    ($(#[$meta:meta])* $name:ident) => {
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, PartialOrd, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub f64);
    };
}

score_newtype! {
    /// Peak signal-to-noise ratio of the predicted frame, in dB: high where the prediction is
    /// good (Eq. 19). See [`PsnrDb::from_mse`].
    PsnrDb
}
score_newtype! {
    /// Mean Euclidean distance of a clip's unit queries to their nearest memory items, in [0, 2]:
    /// low where the scene is familiar (Eq. 22).
    FeatureDistance
}
score_newtype! {
    /// How normal a clip is, in [0, 1]; 1 is normal (Eq. 25).
    Regularity
}
score_newtype! {
    /// How abnormal a clip is, in [0, 1]; 1 is abnormal.
    AnomalyScore
}

impl PsnrDb {
    /// The error below which a prediction counts as perfect.
    pub const MIN_MSE: f64 = 1e-10;

    /// `10 log10(1 / max(mse, 1e-10))`, for a mean squared error over all channels and pixels of
    /// frames mapped to [0, 1]. The result is at most 100 dB, and NaN for NaN.
    pub fn from_mse(mse: f64) -> Self {
        // `f64::max` would answer the bound for NaN, and a broken model would look perfect.
        let bounded = if mse < Self::MIN_MSE { Self::MIN_MSE } else { mse };
        Self(-10.0 * bounded.log10())
    }
}

impl Regularity {
    /// The same statement with 1 for abnormal.
    pub fn anomaly(self) -> AnomalyScore {
        AnomalyScore(1.0 - self.0)
    }
}

/// What a caller wants beside the scores. The motion decoder runs only for `rgb_difference`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Outputs {
    /// The predicted target frame.
    pub predicted_frame: bool,
    /// The generated RGB-difference maps.
    pub rgb_difference: bool,
    /// The squared error of the prediction by pixel.
    pub error_map: bool,
}

impl Outputs {
    /// Scores only.
    pub const NONE: Self = Self { predicted_frame: false, rgb_difference: false, error_map: false };
    /// Scores and every picture.
    pub const ALL: Self = Self { predicted_frame: true, rgb_difference: true, error_map: true };
}

/// What a model says of one clip.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ClipScore {
    /// Absent where the clip has no target.
    pub psnr: Option<PsnrDb>,
    /// Absent where the model was built without a memory.
    pub feature_distance: Option<FeatureDistance>,
    /// What a [`crate::Detector`] judges. Absent where the clip has no target.
    pub maps: Option<ClipMaps>,
    /// `[S, S, 3]`, RGB in [0, 1].
    pub predicted_frame: Option<Plane>,
    /// `t` maps of `[S, S, 3]`, each past frame minus the last frame, in [-2, 2] (Eq. 5); empty
    /// where none was asked for or the model has no motion branch.
    pub rgb_difference: Vec<Plane>,
    /// `[S, S, 1]`, squared error averaged over channels, frames in [0, 1]; its mean is the error
    /// of the PSNR. Absent where the clip has no target.
    pub error_map: Option<Plane>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn psnr_of_known_errors() {
        assert!((PsnrDb::from_mse(0.01).0 - 20.0).abs() < 1e-12);
        assert!((PsnrDb::from_mse(1.0).0).abs() < 1e-12);
        assert!((PsnrDb::from_mse(0.0).0 - 100.0).abs() < 1e-12);
        assert!(PsnrDb::from_mse(f64::NAN).0.is_nan());
    }

    #[test]
    fn anomaly_is_the_complement() {
        assert_eq!(Regularity(0.25).anomaly(), AnomalyScore(0.75));
    }
}
