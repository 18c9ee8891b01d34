//! Whether the memory is alive. The discriminative loss's own optimum is total collapse, so every
//! run watches this.

use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::Result;
use crate::config::Within;
use crate::memory::MemoryPass;
use crate::scatter::Scatter;

/// Perplexity of use below which a memory counts as collapsed.
pub const MIN_PERPLEXITY: f64 = 2.0;
/// `Tr(S_B)` below which a memory counts as collapsed.
pub const MIN_BETWEEN_TRACE: f64 = 1e-4;

/// The state of a memory over some batches.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct MemoryHealth {
    /// Items that are the nearest of at least one query.
    pub items_in_use: usize,
    /// `exp(entropy of n/ΣN)`: the number of items in even use.
    pub perplexity: f64,
    /// Queries of the most used item, over all clips.
    pub largest_count: u64,
    /// Mean cosine of two different items, as of the last batch.
    pub mean_pairwise_cosine: f64,
    /// Mean `Tr(S_W)` a clip, as in the paper.
    pub within_trace: f64,
    /// Mean `Tr(S_B)` a clip.
    pub between_trace: f64,
}

impl MemoryHealth {
    /// What is wrong, where something is.
    pub fn warning(&self) -> Option<String> {
        if self.perplexity < MIN_PERPLEXITY {
            return Some(format!(
                "memory has collapsed: perplexity of use is {:.3}, at least {MIN_PERPLEXITY} is expected",
                self.perplexity
            ));
        }
        (self.between_trace < MIN_BETWEEN_TRACE).then(|| {
            format!(
                "memory has collapsed: Tr(S_B) is {:.3e}, at least {MIN_BETWEEN_TRACE:e} is expected",
                self.between_trace
            )
        })
    }
}

/// What a [`HealthMeter`] has gathered, as plain numbers.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HealthSums {
    /// Queries by item.
    counts: Vec<f64>,
    /// Sums over clips of both traces.
    traces: Vec<f64>,
    /// Of the last batch.
    pairwise_cosine: f64,
    clips: usize,
}

/// Gathers the health of many batches on the device, with one synchronisation when it is read.
#[derive(Debug, Default)]
pub struct HealthMeter {
    sums: Option<Sums>,
}

#[derive(Debug)]
struct Sums {
    /// Queries by item, `[N]`.
    counts: Tensor,
    /// Sums over clips of `Tr(S_W)` and `Tr(S_B)`, `[2]`.
    traces: Tensor,
    /// Of the last batch, a scalar.
    pairwise_cosine: Tensor,
    clips: usize,
}

impl HealthMeter {
    /// A meter that has seen nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a batch.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn observe(&mut self, pass: &MemoryPass) -> Result<()> {
        tch::no_grad(|| {
            let scatter = Scatter::of(pass, Within::Paper)?;
            let sum = |x: &Tensor| x.f_sum(Kind::Double);
            let counts = pass.counts.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double)?;
            let traces = Tensor::f_stack(&[sum(&scatter.within)?, sum(&scatter.between)?], 0)?;
            let pairwise_cosine = pairwise_cosine(&pass.items)?;
            let clips = pass.assignment.size2()?.0 as usize;
            self.sums = Some(match self.sums.take() {
                None => Sums { counts, traces, pairwise_cosine, clips },
                Some(sums) => Sums {
                    counts: sums.counts.f_add(&counts)?,
                    traces: sums.traces.f_add(&traces)?,
                    pairwise_cosine,
                    clips: sums.clips + clips,
                },
            });
            Ok(())
        })
    }

    /// What was gathered so far, for a run that is to go on later; synchronises the device.
    ///
    /// # Errors
    /// When the device failed in the meantime.
    pub fn sums(&self) -> Result<Option<HealthSums>> {
        let Some(sums) = &self.sums else { return Ok(None) };
        let values = |x: &Tensor| Ok::<_, crate::ModelError>(Vec::<f64>::try_from(x)?);
        Ok(Some(HealthSums {
            counts: values(&sums.counts)?,
            traces: values(&sums.traces)?,
            pairwise_cosine: f64::try_from(&sums.pairwise_cosine)?,
            clips: sums.clips,
        }))
    }

    /// A meter that goes on from `sums`.
    ///
    /// # Errors
    /// When the device has no room.
    pub fn from_sums(sums: Option<&HealthSums>, device: tch::Device) -> Result<Self> {
        let Some(sums) = sums else { return Ok(Self::new()) };
        let tensor = |values: &[f64]| Tensor::f_from_slice(values)?.f_to_device(device);
        let sums = Sums {
            counts: tensor(&sums.counts)?,
            traces: tensor(&sums.traces)?,
            pairwise_cosine: tensor(&[sums.pairwise_cosine])?.f_squeeze()?,
            clips: sums.clips,
        };
        Ok(Self { sums: Some(sums) })
    }

    /// The health over everything observed, or nothing before the first batch.
    ///
    /// # Errors
    /// When the device failed in the meantime.
    pub fn read(&self) -> Result<Option<MemoryHealth>> {
        let Some(sums) = &self.sums else { return Ok(None) };
        let scalars = [&sums.traces, &sums.pairwise_cosine.f_reshape([1])?, &sums.counts];
        let values = Vec::<f64>::try_from(&Tensor::f_cat(&scalars, 0)?)?;
        let counts = &values[3..];
        let clips = sums.clips as f64;
        Ok(Some(MemoryHealth {
            items_in_use: counts.iter().filter(|&&count| count > 0.0).count(),
            perplexity: perplexity(counts),
            largest_count: counts.iter().copied().fold(0.0, f64::max) as u64,
            mean_pairwise_cosine: values[2],
            within_trace: values[0] / clips,
            between_trace: values[1] / clips,
        }))
    }
}

impl MemoryPass {
    /// The health of this batch alone; synchronises the device.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn health(&self) -> Result<MemoryHealth> {
        let mut meter = HealthMeter::new();
        meter.observe(self)?;
        Ok(meter.read()?.expect("a batch was observed just above"))
    }
}

/// `(‖Σ m_j‖² − N) / (N (N − 1))` of the items' directions.
fn pairwise_cosine(items: &Tensor) -> Result<Tensor> {
    let count = items.size2()?.0 as f64;
    let norms = items.f_norm_scalaropt_dim(2, [-1], true)?.f_clamp_min(1e-12)?;
    let total = items.f_div(&norms)?.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double)?;
    let square = total.f_square()?.f_sum(Kind::Double)?;
    Ok(square.f_sub_scalar(count)?.f_div_scalar(count * (count - 1.0))?)
}

fn perplexity(counts: &[f64]) -> f64 {
    let total: f64 = counts.iter().sum();
    let shares = counts.iter().map(|count| count / total).filter(|&share| share > 0.0);
    shares.map(|share| -share * share.ln()).sum::<f64>().exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn perplexity_counts_items_in_even_use() {
        assert!((perplexity(&[5.0, 5.0, 0.0, 5.0, 5.0]) - 4.0).abs() < 1e-12);
        assert!((perplexity(&[7.0, 0.0]) - 1.0).abs() < 1e-12);
    }

    #[test]
    fn warns_of_both_kinds_of_collapse() {
        let healthy = MemoryHealth {
            items_in_use: 9,
            perplexity: 6.0,
            largest_count: 10,
            mean_pairwise_cosine: 0.1,
            within_trace: 3.0,
            between_trace: 0.8,
        };
        assert_eq!(healthy.warning(), None);
        let one_item = MemoryHealth { perplexity: 1.2, ..healthy.clone() };
        assert!(one_item.warning().unwrap().contains("perplexity of use is 1.200"));
        let one_point = MemoryHealth { between_trace: 1e-5, ..healthy };
        assert!(one_point.warning().unwrap().contains("Tr(S_B)"));
    }
}
