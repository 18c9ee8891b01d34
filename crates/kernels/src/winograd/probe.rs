//! How this processor computes a convolution the fastest, found by trying once a process.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

use tch::{Device, Kind, Tensor};

use super::weights::WinogradWeights;
use crate::convolution::{Activation, convolution, pack_convolution, takes_bf16};
use crate::error::{Fault, KernelError, Result};
use crate::processor::{has_avx512, has_bf16};

/// How a convolution of a kind is computed: the kind of the factors of Winograd's products, or none
/// where it is computed directly.
///
/// # Errors
/// When the processor has to be tried and cannot be. The next call tries again.
pub fn fastest_factors(kind: Kind) -> Result<Option<Kind>> {
    match kind {
        _ if !has_avx512()? => Ok(None),
        Kind::BFloat16 => Ok(ways()?.bf16_factors),
        _ => Ok(Some(Kind::Float)),
    }
}

/// Whether the processor has bf16, and a convolution in it takes less than four fifths of the time
/// of one in f32: what saves less is not worth the digits, nor results that differ from one start to
/// the next.
///
/// AMX and Zen double the rate of f32; Intel's AVX512-BF16 alone (a virtual machine that hides AMX)
/// halves it.
///
/// # Errors
/// As [`fastest_factors`].
pub fn gains_by_bf16() -> Result<bool> {
    Ok(has_bf16()? && ways()?.gains_by_bf16)
}

#[derive(Clone, Copy, Debug, Default)]
struct Ways {
    bf16_factors: Option<Kind>,
    gains_by_bf16: bool,
}

fn ways() -> Result<Ways> {
    static FOUND: OnceLock<Ways> = OnceLock::new();
    once(&FOUND, || tch::no_grad(Ways::find))
}

/// What was found before, or is now. A fault is not kept: memory may suffice the next time.
fn once<T: Copy>(found: &OnceLock<T>, find: impl FnOnce() -> Result<T>) -> Result<T> {
    match found.get() {
        Some(known) => Ok(*known),
        None => find().map(|new| *found.get_or_init(|| new)),
    }
}

impl Ways {
    /// Tries a convolution of 0.3 GFLOP every way: a few tens of milliseconds.
    fn find() -> Result<Self> {
        if !takes_bf16()? {
            return Ok(Self::default());
        }
        let in_f32 = Probe::new(Kind::Float, fastest_factors(Kind::Float)?)?;
        let mut of_bf16 = vec![None];
        if has_avx512()? {
            of_bf16.push(Some(Kind::Float));
            of_bf16.extend(multiplies_bf16()?.then_some(Some(Kind::BFloat16)));
        }
        let in_bf16 = of_bf16.iter().map(|factors| Probe::new(Kind::BFloat16, *factors));
        let probes: Vec<_> = std::iter::once(Ok(in_f32)).chain(in_bf16).collect::<Result<_>>()?;
        let times = best_times(&probes)?;
        let (in_f32, in_bf16) = (times[0], &times[1..]);
        let (factors, time) = of_bf16
            .iter()
            .zip(in_bf16)
            .min_by_key(|(_, time)| **time)
            .expect("it is tried directly");
        Ok(Self { bf16_factors: *factors, gains_by_bf16: *time * 5 < in_f32 * 4 })
    }
}

/// Whether Winograd's products may have factors of bf16. The processor needs them, and oneDNN, which
/// makes the products, must use them: it may be told not to.
pub(super) fn multiplies_bf16() -> Result<bool> {
    if !has_bf16()? {
        return Ok(false);
    }
    // What the trial shares with products of f32 factors must not be taken for bf16's fault.
    drop(Probe::new(Kind::BFloat16, Some(Kind::Float))?.forward()?);
    match Probe::new(Kind::BFloat16, Some(Kind::BFloat16))?.forward() {
        Ok(_) => Ok(true),
        Err(KernelError::Native { fault: Fault::Refused, .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// The best time of each, taken in turns.
fn best_times(probes: &[Probe]) -> Result<Vec<Duration>> {
    const TURNS: usize = 6;
    let mut best = vec![Duration::MAX; probes.len()];
    for _ in 0..TURNS {
        for (probe, best) in probes.iter().zip(&mut best) {
            let started = Instant::now();
            drop(probe.forward()?);
            *best = started.elapsed().min(*best);
        }
    }
    Ok(best)
}

/// A convolution of 128 channels at 32 × 32 pixels, of ones.
struct Probe {
    weight: Weight,
    input: Tensor,
}

enum Weight {
    Direct(Tensor),
    Winograd(WinogradWeights),
}

const CHANNELS: i64 = 128;
const SIDE: i64 = 32;

impl Probe {
    fn new(kind: Kind, factors: Option<Kind>) -> Result<Self> {
        let ones = |size: &[i64], kind| Tensor::f_ones(size, (kind, Device::Cpu));
        let weight = [CHANNELS, CHANNELS, 3, 3];
        let weight = match factors {
            Some(factors) => {
                Weight::Winograd(WinogradWeights::new(&ones(&weight, Kind::Float)?, factors)?)
            }
            None => {
                let size = [1, CHANNELS, SIDE, SIDE];
                Weight::Direct(pack_convolution(&ones(&weight, kind)?, size)?)
            }
        };
        let input = ones(&[1, SIDE, SIDE, CHANNELS], kind)?.f_permute([0, 3, 1, 2])?;
        Ok(Self { weight, input })
    }

    fn forward(&self) -> Result<Tensor> {
        match &self.weight {
            Weight::Direct(weight) => convolution(&self.input, weight, None, Activation::Relu),
            Weight::Winograd(weights) => weights.forward(&self.input, None, None, Activation::Relu),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_of_a_trial_is_told_and_tried_again() {
        let found = OnceLock::new();
        let fault = || KernelError::Native { fault: Fault::OutOfMemory, reason: String::new() };
        assert_eq!(once::<i64>(&found, || Err(fault())), Err(fault()));
        assert_eq!(once(&found, || Ok(3)), Ok(3));
        assert_eq!(once(&found, || Err(fault())), Ok(3), "what is known is not tried again");
    }
}
