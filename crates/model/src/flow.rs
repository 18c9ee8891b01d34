//! A dense optical flow without weights: Lucas and Kanade's least squares (1981) by block.
//!
//! It is the paper's other target for a motion branch (Table III), and its length is a score of its
//! own. Frames are `[B, 3, S, S]` in [-1, 1]; S is a multiple of 8, as a clip's side is.

use tch::Tensor;

use crate::error::Result;
use crate::layer::at_least_f32;

/// Side of a block, in pixels.
pub const BLOCK: i64 = 8;

/// Added to the mean squares of both derivatives, in squares of grey levels in [0, 1] a pixel: a
/// block without texture is at rest instead of anywhere.
const MIN_TEXTURE: f64 = 2e-4;

/// How far each block moves from one frame to the next: `[B, 2, S/8, S/8]`, to the right and
/// downwards, in pixels. More than two frames in a row give the one motion that fits every pair of
/// neighbours best.
///
/// With the derivatives of the mean of both frames and `I_t` their difference, in grey levels, and
/// means over the block and over pairs: `A = ⟨Ix²⟩ + c`, `D = ⟨Iy²⟩ + c`, `O = ⟨Ix Iy⟩`,
/// `P = ⟨Ix It⟩`, `Q = ⟨Iy It⟩`; `u = (O Q − D P) / (A D − O²)`, `v = (O P − A Q) / (A D − O²)`. The
/// linear model holds for displacements that are small beside the texture; larger ones come out
/// shorter.
///
/// # Errors
/// When there are fewer than two frames, or libtorch refuses.
pub fn field(frames: &[Tensor]) -> Result<Tensor> {
    let grey = frames.iter().map(grey).collect::<Result<Vec<_>>>()?; // [B, 1, S, S] each
    let products = grey.windows(2).map(products).collect::<Result<Vec<_>>>()?;
    let products = Tensor::f_stack(&products, 0)?.f_mean_dim([0i64].as_slice(), false, None)?;
    let means = block_mean(&products)?; // [B, 5, S/8, S/8]
    let of = |index: i64| means.f_narrow(1, index, 1);
    let (a, d) = (of(0)?.f_add_scalar(MIN_TEXTURE)?, of(1)?.f_add_scalar(MIN_TEXTURE)?);
    let (o, p, q) = (of(2)?, of(3)?, of(4)?);
    // At least c², because O² is at most ⟨Ix²⟩⟨Iy²⟩.
    let determinant = a.f_mul(&d)?.f_sub(&o.f_square()?)?;
    let u = o.f_mul(&q)?.f_sub(&d.f_mul(&p)?)?;
    let v = o.f_mul(&p)?.f_sub(&a.f_mul(&q)?)?;
    Ok(Tensor::f_cat(&[u, v], 1)?.f_div(&determinant)?)
}

/// The length of [`field`]: `[B, S/8, S/8]`, in pixels a frame at the frames' side.
///
/// # Errors
/// As [`field`].
pub fn speed(frames: &[Tensor]) -> Result<Tensor> {
    Ok(field(frames)?.f_norm_scalaropt_dim(2, [1], false)?)
}

/// `Ix²`, `Iy²`, `Ix Iy`, `Ix It` and `Iy It` by pixel of two frames `[B, 1, S, S]`, as
/// `[B, 5, S, S]`.
fn products(pair: &[Tensor]) -> Result<Tensor> {
    let [previous, next] = pair else { return Err(crate::error::ModelError::EmptyBatch) };
    let in_time = next.f_sub(previous)?;
    let middle = next.f_add(previous)?.f_mul_scalar(0.5)?;
    let padded = middle.f_replication_pad2d([1, 1, 1, 1])?;
    let in_x = central_difference(&padded, 3)?;
    let in_y = central_difference(&padded, 2)?;
    let products = [
        in_x.f_square()?,
        in_y.f_square()?,
        in_x.f_mul(&in_y)?,
        in_x.f_mul(&in_time)?,
        in_y.f_mul(&in_time)?,
    ];
    Ok(Tensor::f_cat(&products, 1)?)
}

/// `[B, 3, S, S]` in [-1, 1] → `[B, 1, S, S]`, the mean of the channels; its differences are in
/// units of [0, 1].
fn grey(frames: &Tensor) -> Result<Tensor> {
    let mean = at_least_f32(frames)?.f_mean_dim([1i64].as_slice(), true, None)?;
    Ok(mean.f_mul_scalar(0.5)?)
}

/// `(I(x + 1) − I(x − 1)) / 2` along a dimension of `[B, 1, S + 2, S + 2]`: `[B, 1, S, S]`.
fn central_difference(padded: &Tensor, along: i64) -> Result<Tensor> {
    let side = padded.size4()?.3 - 2;
    let inner = padded.f_narrow(5 - along, 1, side)?;
    let after = inner.f_narrow(along, 2, side)?;
    Ok(after.f_sub(&inner.f_narrow(along, 0, side)?)?.f_mul_scalar(0.5)?)
}

fn block_mean(x: &Tensor) -> Result<Tensor> {
    Ok(x.f_avg_pool2d([BLOCK, BLOCK], [BLOCK, BLOCK], [0, 0], false, false, None)?)
}

#[cfg(test)]
mod tests {
    use tch::{Device, Kind};

    use super::*;

    const SIDE: i64 = 64;

    /// A smooth pattern, moved to the right and downwards by so many pixels.
    fn pattern(right: f64, down: f64) -> Tensor {
        let axis = Tensor::arange(SIDE, (Kind::Double, Device::Cpu));
        let x = axis.unsqueeze(0) - right;
        let y = axis.unsqueeze(1) - down;
        let waves: Tensor = (&x * 0.45 + &y * 0.15).sin() + (&y * 0.4 - &x * 0.12).cos();
        (waves * 0.49).expand([1, 3, SIDE, SIDE], false).to_kind(Kind::Float)
    }

    fn mean(x: &Tensor) -> f64 {
        x.mean(Kind::Double).double_value(&[])
    }

    #[test]
    fn finds_known_translations_in_every_block() {
        for (right, down) in [(1.0, 0.0), (0.0, -1.0), (0.5, 0.25), (-1.5, 0.75), (0.0, 0.0)] {
            let flow = field(&[pattern(0.0, 0.0), pattern(right, down)]).unwrap();
            assert_eq!(flow.size(), [1, 2, 8, 8]);
            for (index, expected) in [(0, right), (1, down)] {
                let component = flow.select(1, index);
                let error = (mean(&component) - expected).abs();
                // The regularisation shortens a little.
                assert!(error < 0.08, "{} where {expected} moved", mean(&component));
                let worst = (component - expected).abs().max().double_value(&[]);
                assert!(worst < 0.35, "a block is {worst} from {right}, {down}");
            }
        }
    }

    #[test]
    fn speed_is_the_length_and_of_each_clip_alone() {
        let still = pattern(0.0, 0.0);
        let previous = Tensor::cat(&[&still, &still], 0);
        let next = Tensor::cat(&[&pattern(0.6, -0.8), &still], 0);
        let speed = speed(&[previous, next]).unwrap();
        assert_eq!(speed.size(), [2, 8, 8]);
        let alone = super::speed(&[still, pattern(0.6, -0.8)]).unwrap();
        assert!((mean(&speed.get(0)) - 1.0).abs() < 0.08, "{}", mean(&speed.get(0)));
        assert!((speed.get(0) - alone.get(0)).abs().max().double_value(&[]) < 1e-6);
        assert_eq!(speed.get(1).abs().max().double_value(&[]), 0.0);
    }

    /// At one pixel a frame throughout, three frames say what each of their pairs says.
    #[test]
    fn several_pairs_are_averaged() {
        let frames = [pattern(0.0, 0.0), pattern(0.8, 0.0), pattern(1.6, 0.0)];
        let found = mean(&field(&frames).unwrap().select(1, 0));
        assert!((found - 0.8).abs() < 0.08, "{found}");
        // A pair at rest and one that moves: between the two.
        let frames = [pattern(0.0, 0.0), pattern(0.0, 0.0), pattern(0.8, 0.0)];
        let found = mean(&field(&frames).unwrap().select(1, 0));
        assert!((found - 0.4).abs() < 0.08, "{found}");
        assert!(field(&frames[..1]).is_err());
    }

    /// One block by hand: a ramp of 0.02 a pixel to the right, brighter by 0.01. `A` is 4e-4 + c
    /// inside, the others are 0 but `P` = 2e-4, and the border's derivative is half.
    #[test]
    fn a_ramp_is_the_hand_computed_fraction() {
        let ramp = Tensor::arange(24, (Kind::Double, Device::Cpu)) * 0.04 - 1.0;
        let frame = |brighter: f64| (&ramp + brighter).expand([1, 3, 24, 24], false);
        let flow = field(&[frame(0.0), frame(0.02)]).unwrap();
        let found = flow.double_value(&[0, 0, 1, 1]);
        assert!((found + 2e-4 / (4e-4 + 2e-4)).abs() < 1e-9, "{found}");
        let border = (7.0 * 4e-4 + 1e-4) / 8.0 + 2e-4;
        let expected = -(7.0 * 2e-4 + 1e-4) / 8.0 / border;
        assert!((flow.double_value(&[0, 0, 1, 0]) - expected).abs() < 1e-9);
        assert_eq!(flow.double_value(&[0, 1, 1, 1]), 0.0);
    }

    #[test]
    fn brightness_over_a_flat_picture_is_no_motion() {
        let flat = |value: f64| Tensor::full([1, 3, 16, 16], value, (Kind::Float, Device::Cpu));
        let speed = speed(&[flat(-0.2), flat(0.4)]).unwrap();
        assert_eq!(speed.max().double_value(&[]), 0.0);
    }
}
