//! A clip whose scores are known.

use protoguard_core::{Clip, ClipScore, ClipShape, FeatureDistance, Frame};

use crate::array::{Array, Dtype};
use crate::error::CheckpointError;
use crate::metadata::GoldenScores;
use crate::precision::Precision;

/// A clip whose scores are known, so that a loaded model can prove that it computes what was
/// trained.
#[derive(Clone, Debug, PartialEq)]
pub struct Golden {
    clip: Clip,
    scores: GoldenScores,
}

impl Golden {
    /// Largest accepted departures of the PSNR, in dB, and of the feature distance: a reduced
    /// precision passes, other weights do not. What int8 adds to the error of a good prediction is
    /// no small part of it.
    pub const fn tolerances(precision: Precision) -> (f64, f64) {
        match precision {
            Precision::Int8 => (1.0, 0.05),
            Precision::Auto | Precision::F32 | Precision::Bf16 => (0.1, 0.01),
        }
    }

    /// Records what the network made of a clip. Nothing when the clip had no target.
    pub fn new(clip: Clip, score: &ClipScore) -> Option<Self> {
        let scores = GoldenScores { psnr: score.psnr?, feature_distance: score.feature_distance };
        clip.target().is_some().then_some(Self { clip, scores })
    }

    /// The clip, with its target.
    pub fn clip(&self) -> &Clip {
        &self.clip
    }

    /// What it scored when it was recorded.
    pub fn scores(&self) -> GoldenScores {
        self.scores
    }

    /// Compares a score of the same clip, computed in a precision, with the recorded one.
    ///
    /// # Errors
    /// When one departs further than the [tolerances](Self::tolerances).
    pub fn check(&self, score: &ClipScore, precision: Precision) -> Result<(), CheckpointError> {
        let (psnr_db, feature_distance) = Self::tolerances(precision);
        let expected = self.scores;
        let psnr = score.psnr.map(|psnr| psnr.0);
        let distance = |d: Option<FeatureDistance>| d.map(|distance| distance.0);
        compare("psnr_db", (Some(expected.psnr.0), psnr), psnr_db)?;
        let distances = (distance(expected.feature_distance), distance(score.feature_distance));
        compare("feature_distance", distances, feature_distance)
    }

    pub(super) fn to_array(&self) -> Array {
        let shape = self.clip.shape();
        let side = shape.side();
        let bytes = self.clip.frames().iter().flat_map(|f| f.pixels().iter().copied()).collect();
        Array::new(Dtype::U8, vec![shape.frames(), side, side, 3], bytes)
            .expect("every frame of a clip has the shape's side")
    }

    /// Nothing when the array is not a clip of `shape` with its target.
    pub(super) fn from_array(
        array: &Array,
        scores: GoldenScores,
        shape: ClipShape,
    ) -> Option<Self> {
        let side = shape.side();
        if array.dtype() != Dtype::U8 || array.shape() != [shape.frames(), side, side, 3] {
            return None;
        }
        let frames = array.bytes().chunks_exact(shape.frame_bytes());
        let frames: Vec<Frame> =
            frames.map(|pixels| Frame::new(side, side, pixels).ok()).collect::<Option<_>>()?;
        Some(Self { clip: Clip::new(shape, frames).ok()?, scores })
    }
}

fn compare(
    score: &'static str,
    (expected, found): (Option<f64>, Option<f64>),
    tolerance: f64,
) -> Result<(), CheckpointError> {
    let near = match (expected, found) {
        (Some(expected), Some(found)) => (expected - found).abs() <= tolerance,
        (expected, found) => expected.is_none() && found.is_none(),
    };
    if near {
        return Ok(());
    }
    let describe = |value: Option<f64>| value.map_or("absent".to_owned(), |v| format!("{v:.6}"));
    let (expected, found) = (describe(expected), describe(found));
    Err(CheckpointError::Golden { score, expected, found, tolerance })
}

#[cfg(test)]
mod tests {
    use protoguard_core::PsnrDb;

    use super::*;

    #[test]
    fn a_precision_may_depart_as_far_as_its_rounding_takes_it() {
        let shape = ClipShape::new(2, 16).unwrap();
        let frame = Frame::new(16, 16, [0; 768]).unwrap();
        let clip = Clip::new(shape, vec![frame; 3]).unwrap();
        let score = |psnr_db| ClipScore {
            psnr: Some(PsnrDb(psnr_db)),
            feature_distance: None,
            maps: None,
            predicted_frame: None,
            rgb_difference: Vec::new(),
            error_map: None,
        };
        let golden = Golden::new(clip, &score(36.0)).unwrap();
        golden.check(&score(36.09), Precision::Bf16).unwrap();
        golden.check(&score(35.3), Precision::Int8).unwrap();
        for (precision, psnr_db) in [(Precision::F32, 35.8), (Precision::Int8, 34.9)] {
            let error = golden.check(&score(psnr_db), precision).unwrap_err().to_string();
            assert!(error.contains("golden clip scores psnr_db"), "{precision}: {error}");
        }
        // What had no feature distance has none again, and the other way round.
        let memory = ClipScore { feature_distance: Some(FeatureDistance(0.0)), ..score(36.0) };
        golden.check(&memory, Precision::F32).unwrap_err();
        let golden = Golden::new(golden.clip().clone(), &memory).unwrap();
        golden.check(&memory, Precision::F32).unwrap();
        golden.check(&score(36.0), Precision::F32).unwrap_err();
    }

    #[test]
    fn a_clip_is_known_by_its_type_and_its_shape() {
        let shape = ClipShape::new(1, 16).unwrap();
        let frame = |value| Frame::new(16, 16, [value; 768]).unwrap();
        let clip = Clip::new(shape, vec![frame(3), frame(250)]).unwrap();
        let golden =
            Golden::new(clip, &ClipScore { psnr: Some(PsnrDb(30.0)), ..ClipScore::default() });
        let golden = golden.unwrap();
        let array = golden.to_array();
        assert_eq!((array.dtype(), array.shape()), (Dtype::U8, &[2, 16, 16, 3][..]));
        assert_eq!([array.bytes()[767], array.bytes()[768]], [3, 250]);
        let read = |array: &Array| Golden::from_array(array, golden.scores(), shape);
        assert_eq!(read(&array).as_ref(), Some(&golden));
        let of = |dtype, shape: [usize; 4]| {
            let bytes = vec![0; shape.iter().product::<usize>() * Dtype::bytes(dtype)];
            read(&Array::new(dtype, shape.to_vec(), bytes).unwrap())
        };
        assert!(of(Dtype::U8, [2, 16, 16, 3]).is_some());
        assert!(of(Dtype::F16, [2, 16, 16, 3]).is_none());
        assert!(of(Dtype::U8, [2, 16, 3, 16]).is_none());
    }
}
