//! Whether the memory is alive. The discriminative loss's own optimum is total collapse, so every
//! run watches this.

use protoguard_checkpoint::{MemoryHealth, Within};
use serde::{Deserialize, Serialize};
use tch::{Kind, Tensor};

use crate::error::Result;
use crate::memory::MemoryPass;
use crate::scatter::Scatter;

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
        let values = |x: &Tensor| Ok::<_, crate::error::ModelError>(Vec::<f64>::try_from(x)?);
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
            perplexity: MemoryHealth::perplexity_of(counts),
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
