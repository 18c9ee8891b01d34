//! Activations of u8, and convolutions of them.

mod steps;

use std::mem::{offset_of, size_of};

use tch::{Kind, Tensor};
use torch_sys::C_tensor;

use crate::call::{RawFault, made, pointer};
use crate::error::Result;

pub use steps::weight_steps;

unsafe extern "C" {
    fn pg_quantize(
        left: *const C_tensor,
        x: *const C_tensor,
        inverse_steps: *const C_tensor,
        output: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_halve(x: *const C_tensor, output: *mut *mut C_tensor) -> RawFault;
    fn pg_pack_quantized(
        weight: *const C_tensor,
        scales: *const C_tensor,
        input_size: *const i64,
        packed: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_quantized_convolution(
        convolution: *const RawQuantizedConvolution,
        output: *mut *mut C_tensor,
    ) -> RawFault;
    fn pg_up_bytes(
        convolution: *const RawQuantizedUpConvolution,
        output: *mut *mut C_tensor,
    ) -> RawFault;
}

/// `x [B, C, h, w]`, not negative, times `inverse_steps [C]` in f32 as u8, behind the channels of
/// `left` where there is one. What lies beyond 255 steps is cut.
///
/// # Errors
/// When kinds, sizes or devices do not go together, or memory does not suffice.
pub fn quantize(left: Option<&Tensor>, x: &Tensor, inverse_steps: &Tensor) -> Result<Tensor> {
    let (x, inverse_steps) = (x.as_ptr(), inverse_steps.as_ptr());
    // SAFETY: tensors outlive the call, which checks their kinds, sizes and devices; an absent one
    // is null.
    made(|out| unsafe { pg_quantize(pointer(left), x, inverse_steps, out) })
}

/// Max pooling 2×2 of a u8 tensor.
///
/// # Errors
/// As [`quantize`].
pub fn halve(x: &Tensor) -> Result<Tensor> {
    // SAFETY: the tensor outlives the call, which checks its kind and device.
    made(|out| unsafe { pg_halve(x.as_ptr(), out) })
}

/// The s8 weights of a 3×3 convolution on the CPU, laid out for u8 inputs of one size.
///
/// # Errors
/// As [`quantize`].
pub fn pack_quantized(weight: &Tensor, scales: &Tensor, input_size: [i64; 4]) -> Result<Tensor> {
    // SAFETY: tensors outlive the call, which checks their kinds, sizes, layouts and devices, and the
    // size has the four numbers that are read.
    made(|out| unsafe {
        pg_pack_quantized(weight.as_ptr(), scales.as_ptr(), input_size.as_ptr(), out)
    })
}

/// A 3×3 convolution of u8 with s8 weights.
#[derive(Debug)]
pub struct QuantizedConvolution<'a> {
    /// `[B, inputs, h, w]` u8, channels last.
    pub input: &'a Tensor,
    /// [Packed](pack_quantized), of at most [`weight_steps`].
    pub weight: &'a Tensor,
    /// `[outputs]` f32: what a step of the weights times a step of the input is worth.
    pub scales: &'a Tensor,
    /// `[outputs]` i32, all 0.
    pub zero_points: &'a Tensor,
    /// `[outputs]` f32.
    pub bias: &'a Tensor,
    /// `Tanh` is not among them.
    pub relu: bool,
    /// Whether the output is u8, and not of `kind`.
    pub narrow: bool,
    /// f32 or bf16.
    pub kind: Kind,
}

#[repr(C)]
struct RawQuantizedConvolution {
    input: *const C_tensor,
    weight: *const C_tensor,
    scales: *const C_tensor,
    zero_points: *const C_tensor,
    bias: *const C_tensor,
    relu: bool,
    narrow: bool,
    bf16: bool,
}

const _: () = {
    assert!(size_of::<RawQuantizedConvolution>() == 48);
    assert!(offset_of!(RawQuantizedConvolution, input) == 0);
    assert!(offset_of!(RawQuantizedConvolution, weight) == 8);
    assert!(offset_of!(RawQuantizedConvolution, scales) == 16);
    assert!(offset_of!(RawQuantizedConvolution, zero_points) == 24);
    assert!(offset_of!(RawQuantizedConvolution, bias) == 32);
    assert!(offset_of!(RawQuantizedConvolution, relu) == 40);
    assert!(offset_of!(RawQuantizedConvolution, narrow) == 41);
    assert!(offset_of!(RawQuantizedConvolution, bf16) == 42);
};

impl QuantizedConvolution<'_> {
    /// `[B, outputs, h, w]`.
    ///
    /// # Errors
    /// As [`quantize`].
    pub fn compute(&self) -> Result<Tensor> {
        let raw = RawQuantizedConvolution {
            input: self.input.as_ptr(),
            weight: self.weight.as_ptr(),
            scales: self.scales.as_ptr(),
            zero_points: self.zero_points.as_ptr(),
            bias: self.bias.as_ptr(),
            relu: self.relu,
            narrow: self.narrow,
            bf16: self.kind == Kind::BFloat16,
        };
        // SAFETY: tensors outlive the call, which checks their kinds, sizes, layouts and devices.
        made(|out| unsafe { pg_quantized_convolution(&raw, out) })
    }
}

/// A 3×3 up-convolution of u8 with s8 weights, a ReLU behind it, to u8 in steps of 1. It needs
/// AVX512-VNNI.
#[derive(Debug)]
pub struct QuantizedUpConvolution<'a> {
    /// `[B, inputs, h, w]` u8, channels last.
    pub input: &'a Tensor,
    /// `[9, blocks, inputs / 4, outputs of a block, 4]` s8.
    pub weights: &'a Tensor,
    /// `[outputs]` f32: what a step of the weights times a step of the input is worth.
    pub scales: &'a Tensor,
    /// `[outputs]` f32.
    pub bias: &'a Tensor,
    /// `[B, L, 2h, 2w]` u8, channels last: comes before the output in every pixel.
    pub left: Option<&'a Tensor>,
}

#[repr(C)]
struct RawQuantizedUpConvolution {
    input: *const C_tensor,
    weights: *const C_tensor,
    scales: *const C_tensor,
    bias: *const C_tensor,
    left: *const C_tensor,
}

const _: () = {
    assert!(size_of::<RawQuantizedUpConvolution>() == 40);
    assert!(offset_of!(RawQuantizedUpConvolution, input) == 0);
    assert!(offset_of!(RawQuantizedUpConvolution, weights) == 8);
    assert!(offset_of!(RawQuantizedUpConvolution, scales) == 16);
    assert!(offset_of!(RawQuantizedUpConvolution, bias) == 24);
    assert!(offset_of!(RawQuantizedUpConvolution, left) == 32);
};

impl QuantizedUpConvolution<'_> {
    /// `[B, L + outputs, 2h, 2w]` u8, channels last.
    ///
    /// # Errors
    /// As [`quantize`].
    pub fn compute(&self) -> Result<Tensor> {
        let raw = RawQuantizedUpConvolution {
            input: self.input.as_ptr(),
            weights: self.weights.as_ptr(),
            scales: self.scales.as_ptr(),
            bias: self.bias.as_ptr(),
            left: pointer(self.left),
        };
        // SAFETY: tensors outlive the call, which checks their kinds, sizes, layouts and devices.
        made(|out| unsafe { pg_up_bytes(&raw, out) })
    }
}

#[cfg(test)]
mod tests {
    use tch::Device;

    use super::steps::weight_steps;
    use super::*;
    use crate::convolution::tests::{largest_difference, random};
    use crate::error::{Fault, KernelError};

    /// Numbers on a grid, so that steps lose nothing.
    fn bytes(size: &[i64]) -> Tensor {
        Tensor::randint(256, size, (Kind::Uint8, Device::Cpu))
    }

    fn channels_last(x: &Tensor) -> Tensor {
        crate::layout::channels_last(x).unwrap()
    }

    #[test]
    fn quantized_values_are_the_nearest_steps() {
        let numbers = [0.0f32, 0.24, 0.26, 1.0, 127.3, 127.5, 1e9, f32::INFINITY, f32::NAN, -3.0];
        let values = Tensor::from_slice(&numbers);
        for kind in [Kind::Float, Kind::BFloat16] {
            let x = values.to_kind(kind).reshape([1, 1, 10, 1]);
            let found = quantize(None, &x, &Tensor::from_slice(&[2.0f32])).unwrap();
            let found = Vec::<u8>::try_from(found.reshape([10])).unwrap();
            assert_eq!(found, [0, 0, 1, 2, 255, 255, 255, 255, 255, 0], "{kind:?}");
        }
        // Sizes that fill no register, and pixels enough for several threads.
        tch::set_num_threads(2);
        let (left, x) = (channels_last(&bytes(&[2, 5, 96, 97])), bytes(&[2, 19, 96, 97]));
        let step = Tensor::rand([19], (Kind::Float, Device::Cpu)) + 0.1;
        let inverse = step.reciprocal();
        let values = channels_last(&(x.to_kind(Kind::Float) * step.reshape([1, 19, 1, 1])));
        let found = quantize(Some(&left), &values, &inverse).unwrap();
        assert!(found.equal(&Tensor::cat(&[&left, &x], 1)));
        assert!(quantize(None, &values, &inverse).unwrap().equal(&x));
        assert!(quantize(None, &x, &inverse).is_err(), "u8 has been quantized already");
        assert!(quantize(None, &values, &inverse.narrow(0, 0, 3)).is_err(), "a step a channel");
        let refused =
            |left: &Tensor| quantize(Some(left), &values, &inverse).unwrap_err().to_string();
        assert!(refused(&left.narrow(0, 0, 1)).contains("[1, 5, 96, 97]"), "another batch");
        assert!(refused(&left.narrow(2, 0, 95)).contains("[2, 5, 95, 97]"), "another side");
        assert!(refused(&left.to_kind(Kind::Float)).contains("is Float; Byte"), "another kind");
        assert!(refused(&left.narrow(0, 0, 1).squeeze()).contains("[B, C, h, w]"), "no picture");
        let none = values.narrow(1, 0, 0);
        assert!(quantize(None, &none, &inverse.narrow(0, 0, 0)).is_err(), "no channels");
        assert!(quantize(None, &values, &inverse.to_kind(Kind::Double)).is_err(), "f64 steps");
    }

    #[test]
    fn halved_bytes_are_the_largest_of_four() {
        let x = channels_last(&bytes(&[2, 19, 64, 66]));
        let expected = x.to_kind(Kind::Float).max_pool2d([2, 2], [2, 2], [0, 0], [1, 1], false);
        assert!(halve(&x).unwrap().to_kind(Kind::Float).equal(&expected));
        assert!(halve(&x.to_kind(Kind::Float)).is_err() && halve(&x.narrow(1, 0, 0)).is_err());
        assert_eq!(halve(&x.narrow(3, 0, 0)).unwrap().size(), [2, 19, 32, 0]);
    }

    #[test]
    fn quantized_convolutions_are_convolutions() {
        let x = channels_last(&bytes(&[2, 16, 9, 7]));
        let (steps, options) = (weight_steps().unwrap(), (Kind::Int8, Device::Cpu));
        let weight = Tensor::randint_low(-steps, steps + 1, [6, 16, 3, 3], options);
        let (scales, bias) = (random(&[6]).abs() * 1e-3 + 1e-4, random(&[6]));
        let zero_points = Tensor::zeros([6], (Kind::Int, Device::Cpu));
        let packed = pack_quantized(&weight, &scales, [2, 16, 9, 7]).unwrap();
        let real = weight.to_kind(Kind::Float) * scales.reshape([6, 1, 1, 1]);
        let input = x.to_kind(Kind::Float);
        let plain = input.conv2d(&real, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
        let largest = plain.abs().max().double_value(&[]);
        let mut convolution = QuantizedConvolution {
            input: &x,
            weight: &packed,
            scales: &scales,
            zero_points: &zero_points,
            bias: &bias,
            relu: false,
            narrow: false,
            kind: Kind::Float,
        };
        let found = convolution.compute().unwrap();
        assert!(largest_difference(&found, &plain) < 1e-4 * largest);
        convolution.kind = Kind::BFloat16;
        let found = convolution.compute().unwrap();
        assert_eq!(found.kind(), Kind::BFloat16);
        assert!(largest_difference(&found.to_kind(Kind::Float), &plain) < 1e-2 * largest);
        // So that the output is in steps of 1 up to 255.
        let (scales, bias) = (&scales * (255.0 / largest), &bias * (255.0 / largest));
        let convolution = QuantizedConvolution {
            relu: true,
            narrow: true,
            scales: &scales,
            bias: &bias,
            ..convolution
        };
        let found = convolution.compute().unwrap();
        assert_eq!(found.kind(), Kind::Uint8);
        let expected = plain.relu() * (255.0 / largest);
        assert!(largest_difference(&found.to_kind(Kind::Float), &expected) <= 0.51);
    }

    fn refused(result: Result<Tensor>, expected: &str) {
        match result.unwrap_err() {
            KernelError::Native { fault: Fault::Refused, reason } => {
                assert!(reason.contains(expected), "{reason}");
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn weights_that_cannot_be_packed_are_refused() {
        let of = |size: &[i64], kind| Tensor::ones(size, (kind, Device::Cpu));
        let (weight, scales) = (of(&[6, 16, 3, 3], Kind::Int8), of(&[6], Kind::Float));
        let pack = |weight: &Tensor, scales: &Tensor| pack_quantized(weight, scales, [2, 16, 9, 7]);
        drop(pack(&weight, &scales).unwrap());
        refused(pack(&weight.to_kind(Kind::Float), &scales), "weights is Float; Char");
        refused(pack(&weight.flatten(2, 3), &scales), "[outputs, inputs, 3, 3] is expected");
        refused(pack(&of(&[6, 16, 1, 1], Kind::Int8), &scales), "[outputs, inputs, 3, 3]");
        refused(pack(&weight.transpose(2, 3), &scales), "dense ones are expected");
        refused(pack(&weight, &of(&[5], Kind::Float)), "has 5 numbers; 6 are expected");
        refused(pack(&weight, &of(&[6], Kind::Double)), "is Double; Float is expected");
        refused(pack(&weight, &of(&[12], Kind::Float).slice(0, 0, 12, 2)), "is not dense");
        refused(pack_quantized(&weight, &scales, [2, 8, 9, 7]), "weights of 16");
    }

    #[test]
    fn what_does_not_go_with_packed_weights_is_refused() {
        let of = |size: &[i64], kind| Tensor::ones(size, (kind, Device::Cpu));
        let input = channels_last(&bytes(&[2, 16, 9, 7]));
        let (plain, scales) = (of(&[6, 16, 3, 3], Kind::Int8), of(&[6], Kind::Float));
        let packed = pack_quantized(&plain, &scales, [2, 16, 9, 7]).unwrap();
        let (zero_points, bias) = (of(&[6], Kind::Int).zero_(), of(&[6], Kind::Float));
        let right = || QuantizedConvolution {
            input: &input,
            weight: &packed,
            scales: &scales,
            zero_points: &zero_points,
            bias: &bias,
            relu: false,
            narrow: false,
            kind: Kind::Float,
        };
        assert_eq!(right().compute().unwrap().size(), [2, 6, 9, 7]);
        let few = of(&[5], Kind::Float);
        let missing = "has 5 numbers; 6 are expected";
        refused(QuantizedConvolution { scales: &few, ..right() }.compute(), missing);
        refused(QuantizedConvolution { bias: &few, ..right() }.compute(), missing);
        // Fewer of each: they agree with each other, and not with the weights.
        let zeros = of(&[5], Kind::Int).zero_();
        let all = QuantizedConvolution { scales: &few, bias: &few, zero_points: &zeros, ..right() };
        refused(all.compute(), missing);
        let wide = of(&[6], Kind::Double);
        let kind = "is Double; Float is expected";
        refused(QuantizedConvolution { scales: &wide, ..right() }.compute(), kind);
        refused(QuantizedConvolution { bias: &wide, ..right() }.compute(), kind);
        refused(QuantizedConvolution { zero_points: &scales, ..right() }.compute(), "Int is");
        let apart = of(&[12], Kind::Float).slice(0, 0, 12, 2);
        refused(QuantizedConvolution { scales: &apart, ..right() }.compute(), "is not dense");
        refused(QuantizedConvolution { weight: &plain, ..right() }.compute(), "packed s8");
        let other = channels_last(&bytes(&[2, 8, 9, 7]));
        let inputs = "weights of 8 inputs are expected, not of 16";
        refused(QuantizedConvolution { input: &other, ..right() }.compute(), inputs);
    }
}
