//! What the motion branch is to make of a clip, and what its last convolution makes of it.

use protoguard_checkpoint::MotionTarget;
use tch::Tensor;

use crate::batch::Batch;
use crate::error::Result;
use crate::flow;
use crate::layer::at_least_f32;

/// Steepness of the softplus under which brightening and darkening are made. It is 0.07 where the
/// convolution makes 0, near the mean of moving video, and always has a gradient: a ReLU on a
/// target that is mostly 0 may fall silent for good.
const SHARPNESS: f64 = 10.0;

/// Displacements beyond one block are errors of the linear model.
const MAX_DISPLACEMENT: f64 = flow::BLOCK as f64;

/// The motion decoder's maps `[B, channels, S, S]` of a batch.
#[derive(Debug)]
pub struct MotionMaps {
    /// What they are to be; [`MotionTarget::channels`] says how many they are.
    pub target: MotionTarget,
    /// As the decoder made them.
    pub maps: Tensor,
}

impl MotionMaps {
    /// Of the last convolution's output. It is linear for what has a sign.
    pub(crate) fn of(target: MotionTarget, last: &Tensor) -> Result<Self> {
        let maps = match target {
            MotionTarget::RgbDifference | MotionTarget::Flow => last.shallow_clone(),
            MotionTarget::BrighteningDarkening => at_least_f32(last)?
                .f_mul_scalar(SHARPNESS)?
                .f_softplus()?
                .f_div_scalar(SHARPNESS)?,
        };
        Ok(Self { target, maps })
    }

    /// What they should have been.
    ///
    /// # Errors
    /// When a clip has no target frame, or libtorch refuses.
    pub fn truth(&self, batch: &Batch) -> Result<Tensor> {
        match self.target {
            MotionTarget::RgbDifference => batch.difference(),
            MotionTarget::BrighteningDarkening => {
                let difference = batch.difference()?;
                let darkening = difference.f_neg()?.f_clamp_min(0.0)?;
                Ok(Tensor::f_cat(&[difference.f_clamp_min(0.0)?, darkening], 1)?)
            }
            MotionTarget::Flow => flow_maps(batch),
        }
    }

    /// `x_diff [B, 3t, S, S]` (Eq. 5) as the maps have it, where it can be had of them.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn rgb_difference(&self) -> Result<Option<Tensor>> {
        match self.target {
            MotionTarget::RgbDifference => Ok(Some(self.maps.shallow_clone())),
            MotionTarget::BrighteningDarkening => {
                let half = self.maps.size4()?.1 / 2;
                let brightening = self.maps.f_narrow(1, 0, half)?;
                Ok(Some(brightening.f_sub(&self.maps.f_narrow(1, half, half)?)?))
            }
            MotionTarget::Flow => Ok(None),
        }
    }
}

/// [`flow::field`] from every frame to the next, `[B, 2t, S, S]`: each block's over its pixels.
fn flow_maps(batch: &Batch) -> Result<Tensor> {
    let frames = Tensor::f_cat(&[&batch.input, batch.required_target()?], 1)?;
    let frame = |index: usize| frames.f_narrow(1, 3 * index as i64, 3);
    let fields = (0..batch.shape().past_frames())
        .map(|index| flow::field(&[frame(index)?, frame(index + 1)?]))
        .collect::<Result<Vec<_>>>()?;
    let side = batch.shape().side() as i64;
    let blocks = Tensor::f_cat(&fields, 1)?.f_clamp(-MAX_DISPLACEMENT, MAX_DISPLACEMENT)?;
    Ok(blocks.f_upsample_nearest2d([side, side], None, None)?.f_to_kind(batch.input.kind())?)
}

#[cfg(test)]
mod tests {
    use protoguard_core::{Clip, ClipShape, Frame};
    use tch::{Device, Kind};

    use super::*;

    /// A bright square on grey that moves one pixel to the right in each frame.
    fn batch() -> Batch {
        let side = 24;
        let frame = |index: usize| {
            let pixel = |i: usize| {
                let (x, y) = (i as f64 % 24.0 - 10.0 - index as f64, (i / 24) as f64 - 11.0);
                let bump = (-(x * x + y * y) / 12.0).exp();
                [(90.0 + 120.0 * bump) as u8; 3]
            };
            Frame::new(side, side, (0..side * side).flat_map(pixel).collect::<Vec<_>>()).unwrap()
        };
        let shape = ClipShape::new(2, side).unwrap();
        let clip = Clip::new(shape, (0..3).map(frame).collect()).unwrap();
        Batch::from_clips(&[clip.clone(), clip], Device::Cpu).unwrap()
    }

    fn maps(target: MotionTarget, last: &Tensor) -> MotionMaps {
        MotionMaps::of(target, last).unwrap()
    }

    #[test]
    fn brightening_less_darkening_is_the_rgb_difference() {
        let batch = batch();
        let target = MotionTarget::BrighteningDarkening;
        let truth = maps(target, &Tensor::zeros([1], tch::kind::FLOAT_CPU)).truth(&batch).unwrap();
        assert_eq!(truth.size(), [2, target.channels(2) as i64, 24, 24]);
        assert_eq!(truth.min().double_value(&[]), 0.0);
        // The zero predictor loses as much as on x_diff itself: the two never overlap.
        let x_diff = batch.difference().unwrap();
        let energy = |x: &Tensor| x.square().sum(Kind::Double).double_value(&[]);
        assert!((energy(&truth) - energy(&x_diff)).abs() < 1e-9 * energy(&x_diff));
        let perfect = MotionMaps { target, maps: truth };
        assert_eq!(perfect.rgb_difference().unwrap().unwrap(), x_diff);
    }

    #[test]
    fn what_is_made_is_not_negative_and_never_without_a_gradient() {
        let last = Tensor::from_slice(&[-0.5f32, 0.0, 2.0]).reshape([1, 1, 1, 3]);
        let last = last.set_requires_grad(true);
        let made = maps(MotionTarget::BrighteningDarkening, &last).maps;
        let expected = [0.1 * f64::ln_1p((-5.0f64).exp()), 0.1 * 2.0f64.ln(), 2.0];
        for (index, expected) in (0..).zip(expected) {
            let found = made.double_value(&[0, 0, 0, index]);
            assert!((found - expected).abs() < 1e-6, "{found} against {expected}");
        }
        made.sum(Kind::Float).backward();
        assert!(last.grad().min().double_value(&[]) > 1e-3);
    }

    #[test]
    fn flow_is_from_every_frame_to_the_next_in_pixels() {
        let batch = batch();
        let last = Tensor::zeros([2, 4, 24, 24], tch::kind::FLOAT_CPU);
        let made = maps(MotionTarget::Flow, &last);
        let truth = made.truth(&batch).unwrap();
        assert_eq!(truth.size(), last.size());
        // The square is in the middle block in both pairs.
        for pair in [0, 2] {
            let right = truth.double_value(&[1, pair, 12, 12]);
            let down = truth.double_value(&[1, pair + 1, 12, 12]);
            assert!((0.6..1.2).contains(&right) && down.abs() < 0.2, "{right}, {down}");
            assert_eq!(right, truth.double_value(&[1, pair, 9, 15]), "one value a block");
        }
        assert!(made.rgb_difference().unwrap().is_none());
    }
}
