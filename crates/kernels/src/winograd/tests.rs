//! Winograd's convolutions and their gradients, against those of libtorch.

use tch::{Device, Kind, Tensor};

use super::calls::trained;
use super::probe::multiplies_bf16;
use super::weights::WinogradWeights;
use crate::convolution::Activation;
use crate::processor::has_avx512;

fn picture(size: [i64; 4]) -> Tensor {
    let [batch, channels, height, width] = size;
    let options = (Kind::Double, Device::Cpu);
    Tensor::randn([batch, height, width, channels], options).permute([0, 3, 1, 2])
}

const F32: Kind = Kind::Float;
const BF16: Kind = Kind::BFloat16;

/// Whether the processor multiplies factors of a kind so; if not, the test is skipped.
#[allow(clippy::print_stderr, reason = "a skipped test says so")]
fn can_multiply(factors: Kind) -> bool {
    let lacks = match factors {
        _ if !has_avx512().unwrap() => "AVX-512",
        BF16 if !multiplies_bf16().unwrap() => "bf16, or oneDNN may not use it",
        _ => return true,
    };
    eprintln!("skipped: this processor has no {lacks}");
    false
}

// Half a step of a bf16 is up to 1/256 of it.
#[test]
fn in_f32_it_is_the_convolution_at_any_size() {
    assert_convolutions([F32, F32], 5e-6);
}

#[test]
fn in_bf16_with_wide_factors_it_is_the_convolution_at_any_size() {
    assert_convolutions([BF16, F32], 4e-3);
}

#[test]
fn in_bf16_it_is_the_convolution_at_any_size() {
    assert_convolutions([BF16, BF16], 4e-2);
}

fn assert_convolutions([kind, factors]: [Kind; 2], limit: f64) {
    if !can_multiply(factors) {
        return;
    }
    tch::manual_seed(7);
    let sizes = [(1, 16, 8, 4, 4), (2, 24, 48, 7, 10), (3, 40, 64, 3, 1), (1, 192, 80, 33, 32)];
    for size in sizes {
        assert_convolution(size, [kind, factors], limit);
    }
}

fn assert_convolution(size: (i64, i64, i64, i64, i64), [kind, factors]: [Kind; 2], limit: f64) {
    let (batch, inputs, outputs, height, width) = size;
    let rounded = |x: Tensor| x.to_kind(kind).to_kind(Kind::Double);
    let options = (Kind::Double, Device::Cpu);
    let weight = Tensor::randn([outputs, inputs, 3, 3], options);
    let bias = Tensor::randn([outputs], options);
    let input = rounded(picture([batch, inputs, height, width]));
    let expected = input.conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1);
    let weights = WinogradWeights::new(&weight, factors).unwrap();
    let (input, bias) = (input.to_kind(kind), bias.to_kind(Kind::Float));
    let close = |found: &Tensor, expected: &Tensor| {
        assert_eq!(found.kind(), kind);
        let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
        let limit = limit * expected.abs().max().double_value(&[]);
        assert!(error < limit, "{size:?} in {kind:?}, {factors:?}: {error} of {limit}");
    };
    let found = weights.forward(&input, Some(&bias), None, Activation::None).unwrap();
    close(&found, &expected);
    let other = rounded(picture([batch, outputs, height, width]));
    let mut sum = other.to_kind(kind);
    let made = weights.forward(&input, Some(&bias), Some(&mut sum), Activation::Relu).unwrap();
    close(&made, &(expected + other).relu());
    assert_eq!(made.data_ptr(), sum.data_ptr(), "a sum is added to in place");
}

#[test]
fn in_f32_its_gradients_are_those_of_the_convolution() {
    assert_gradients([F32, F32], 1e-5);
}

#[test]
fn in_bf16_with_wide_factors_its_gradients_are_those_of_the_convolution() {
    assert_gradients([BF16, F32], 2e-2);
}

#[test]
fn in_bf16_its_gradients_are_those_of_the_convolution() {
    assert_gradients([BF16, BF16], 4e-2);
}

fn assert_gradients([kind, factors]: [Kind; 2], limit: f64) {
    if !can_multiply(factors) {
        return;
    }
    tch::manual_seed(8);
    let options = (Kind::Double, Device::Cpu);
    let rounded = |x: Tensor| x.to_kind(kind).to_kind(Kind::Double);
    let weight = Tensor::randn([48, 24, 3, 3], options) * 0.1;
    let bias = Tensor::randn([48], options);
    let input = rounded(picture([2, 24, 9, 6]));
    let gradient = rounded(picture([2, 48, 9, 6]));
    let [expected, found] = [Kind::Double, kind].map(|kind| {
        let master = if kind == Kind::Double { kind } else { Kind::Float };
        let leaf = |x: &Tensor, kind| x.detach().to_kind(kind).set_requires_grad(true);
        let (input, weight, bias) =
            (leaf(&input, kind), leaf(&weight, master), leaf(&bias, master));
        let made = if kind == Kind::Double {
            input.conv2d(&weight, Some(&bias), [1, 1], [1, 1], [1, 1], 1)
        } else {
            trained(&input, &weight, &bias, factors).unwrap()
        };
        (&made * gradient.to_kind(kind)).sum(None::<Kind>).backward();
        [made.detach(), input.grad(), weight.grad(), bias.grad()]
    });
    for (index, (found, expected)) in found.iter().zip(&expected).enumerate() {
        assert_eq!(found.kind(), if index < 2 { kind } else { Kind::Float });
        let error = (found.to_kind(Kind::Double) - expected).abs().max().double_value(&[]);
        let largest = expected.abs().max().double_value(&[]);
        let case = format!("{kind:?}, {factors:?}, {index}");
        assert!(error < limit * largest, "{case}: {error} of {largest}");
    }
}

#[test]
fn what_does_not_fit_is_an_error() {
    let options = (Kind::Double, Device::Cpu);
    let weight = Tensor::randn([16, 32, 3, 3], options);
    let weights = WinogradWeights::new(&weight, Kind::Float).unwrap();
    let input = picture([1, 16, 8, 8]).to_kind(Kind::Float);
    let message = weights.forward(&input, None, None, Activation::None).unwrap_err();
    assert!(message.to_string().contains("weights of 16 inputs are expected"), "{message}");
    let mut sum = picture([1, 16, 4, 4]).to_kind(Kind::Float);
    let input = picture([1, 32, 8, 8]).to_kind(Kind::Float);
    let message = weights.forward(&input, None, Some(&mut sum), Activation::None).unwrap_err();
    assert!(message.to_string().contains("another shape"), "{message}");
    let paired = WinogradWeights::new(&weight, Kind::BFloat16).unwrap();
    let message = paired.forward(&input, None, None, Activation::None).unwrap_err();
    assert!(message.to_string().contains("an f32 input takes weights in f32"), "{message}");
    let cut = WinogradWeights { products: paired.products.narrow(4, 0, 1) };
    let wide = input.to_kind(Kind::BFloat16);
    let message = cut.forward(&wide, None, None, Activation::None).unwrap_err();
    assert!(message.to_string().contains("a transform on the CPU is expected"), "{message}");
    let message = WinogradWeights::new(&weight.narrow(3, 0, 1), Kind::Float).unwrap_err();
    assert!(message.to_string().contains("[outputs, inputs, 3, 3] is expected"), "{message}");
    let flat = input.squeeze();
    let message = weights.forward(&flat, None, None, Activation::None).unwrap_err();
    assert!(message.to_string().contains("[B, C, h, w] is expected"), "{message}");
    let bias = Tensor::zeros([16], options);
    let message = weights.forward(&input, Some(&bias), None, Activation::None).unwrap_err();
    assert!(message.to_string().contains("the bias is Double; Float"), "{message}");
}
