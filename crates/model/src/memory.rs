//! The memory of prototypes (Eq. 8–12, 23): reading it, and how it follows the queries.
//!
//! Items are the rows of `M [N, C]`, unit vectors but for a codebook of raw queries. The paper
//! calls an item a *prototype*. The update is once a batch over all of its queries;
//! reading never changes the items.

mod codebook;
mod pass;
#[cfg(test)]
mod tests;
mod vectors;

use protoguard_checkpoint::plan::{MEMORY_ITEMS, MEMORY_SCALE};
use protoguard_checkpoint::{MemoryConfig, MemoryGradient, MemoryUpdate, UpdateScope};
use tch::nn::Path;
use tch::{Kind, Tensor};

use crate::error::Result;
use crate::layer::at_least_f32;
use crate::named_tensor::NamedTensor;
use codebook::Codebook;
pub use pass::MemoryPass;
pub(crate) use vectors::Metric;
use vectors::{
    assign, count, like_bottleneck, normalize_rows, root_mean_square, rows, similarity,
    unit_queries,
};

/// The items and how they are used.
#[derive(Debug)]
pub struct Memory {
    config: MemoryConfig,
    items: Tensor,
    /// What raw queries are divided by, `[1]`, in a codebook.
    scale: Option<Tensor>,
    /// In training, where items are running means.
    codebook: Option<Codebook>,
}

impl Memory {
    /// Items from a normalised Gaussian: a normalised uniform starts them all at a mutual cosine
    /// of 0.75.
    pub(crate) fn new(root: &Path<'_>, config: &MemoryConfig, channels: usize) -> Result<Self> {
        let size = [config.items as i64, channels as i64];
        let gaussian = Tensor::f_randn(size, (Kind::Float, root.device()))?;
        let (block, name) = MEMORY_ITEMS.split_once('.').unwrap_or(("memory", "items"));
        let trained = config.gradient == MemoryGradient::Param;
        let items = (root / block).add(name, normalize_rows(&gaussian)?, trained);
        let scale = config.scales_query().then(|| {
            let name = MEMORY_SCALE.split_once('.').map_or("scale", |(_, name)| name);
            (root / block).f_ones_no_train(name, &[1])
        });
        let codebook =
            (config.update == MemoryUpdate::Ema).then(|| Codebook::new(config, &items)).transpose();
        Ok(Self { config: config.clone(), items, scale: scale.transpose()?, codebook: codebook? })
    }

    /// `M [N, C]` as it is stored.
    pub fn items(&self) -> &Tensor {
        &self.items
    }

    /// How the items are used.
    pub fn config(&self) -> &MemoryConfig {
        &self.config
    }

    /// Whether there is something to read: items of running means are only made of the first
    /// batch's queries.
    pub fn has_started(&self) -> bool {
        self.codebook.as_ref().is_none_or(Codebook::has_started)
    }

    /// Whether training still goes by the memory without reading it.
    pub(crate) fn is_warming(&self) -> bool {
        self.codebook.as_ref().is_some_and(Codebook::is_warming)
    }

    /// What training needs beside what a checkpoint holds.
    pub(crate) fn training_buffers(&self) -> Vec<NamedTensor> {
        self.codebook.as_ref().map(Codebook::tensors).unwrap_or_default()
    }

    /// The items were overwritten by others that are to be read.
    pub(crate) fn start_from_items(&mut self) -> Result<()> {
        match &mut self.codebook {
            Some(codebook) => codebook.start_from(&self.items),
            None => Ok(()),
        }
    }

    /// The same items, for good.
    pub(crate) fn frozen(&self) -> Result<Self> {
        let frozen = |of: &Tensor| -> Result<Tensor> {
            let mut copy = of.f_empty_like()?;
            copy.f_copy_(of)?;
            Ok(copy.f_detach()?)
        };
        Ok(Self {
            config: self.config.clone(),
            items: frozen(&self.items)?,
            scale: self.scale.as_ref().map(frozen).transpose()?,
            codebook: None,
        })
    }

    /// Reads the items as they are.
    ///
    /// # Errors
    /// When libtorch refuses, for want of memory for instance.
    pub fn read(&self, z: &Tensor) -> Result<MemoryPass> {
        let query = self.query(z, self.scale.as_ref())?;
        // A copy, so that what was read stays what was read when the items move on.
        let items = self.items.f_detach()?.f_to_dtype(query.kind(), false, true)?;
        self.read_items(query, items)
    }

    /// What training reads for the bottleneck `z`; nothing while the decoders go by it.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub(crate) fn train(&self, z: &Tensor) -> Result<Option<MemoryPass>> {
        match &self.codebook {
            None => Ok(Some(self.update_and_read(z)?)),
            Some(codebook) if codebook.is_warming() => Ok(None),
            Some(codebook) if codebook.has_started() => Ok(Some(self.read(z)?)),
            Some(codebook) => {
                let query = self.query(z, self.running_scale(z)?.as_ref())?;
                let items = codebook.spread(&query)?;
                Ok(Some(self.read_items(query, items)?))
            }
        }
    }

    /// Reads for another bottleneck the items that `pass` read, which take no gradient here.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub(crate) fn read_beside(&self, z: &Tensor, pass: &MemoryPass) -> Result<MemoryPass> {
        let query = self.query(z, self.running_scale(z)?.as_ref())?;
        self.read_items(query, pass.items.f_detach()?)
    }

    /// `z` as decoders read it where they go by the memory, `[B, C, H, H]`.
    pub(crate) fn pass_by(&self, z: &Tensor) -> Result<Tensor> {
        like_bottleneck(&self.query(z, self.running_scale(z)?.as_ref())?, z)
    }

    /// What raw queries are divided by: the first batch's own root mean square before there is
    /// another.
    fn running_scale(&self, z: &Tensor) -> Result<Option<Tensor>> {
        let first = self.codebook.as_ref().is_some_and(|codebook| codebook.batches() == 0);
        match &self.scale {
            Some(_) if first => Ok(Some(root_mean_square(z)?)),
            scale => Ok(scale.as_ref().map(Tensor::shallow_clone)),
        }
    }

    /// Forms `M'` by Eq. 11 and 12 and reads it; see [`MemoryGradient`] for what is attached to the
    /// graph.
    ///
    /// # Errors
    /// As [`Memory::read`].
    pub fn update_and_read(&self, z: &Tensor) -> Result<MemoryPass> {
        let query = self.query(z, self.scale.as_ref())?;
        let items = self.items.f_to_kind(query.kind())?;
        if self.config.gradient == MemoryGradient::Param {
            return self.read_items(query, normalize_rows(&items)?);
        }
        let updated = update(&items, &query, &self.config)?;
        let stored = updated.f_detach()?;
        let attached = self.config.gradient == MemoryGradient::ThroughUpdate;
        let items = if attached { updated } else { stored.shallow_clone() };
        let pass = self.read_items(query, items)?;
        Ok(MemoryPass { updated: Some(stored), ..pass })
    }

    /// Stores what a batch with the bottleneck `z` makes of the items: `M'`, running means, or,
    /// with `param`, the rows back on the unit sphere.
    pub(crate) fn commit(&mut self, z: &Tensor, pass: Option<&MemoryPass>) -> Result<()> {
        tch::no_grad(|| {
            self.commit_scale(z)?;
            let items = match (pass, &mut self.codebook) {
                (Some(pass), Some(codebook)) => codebook.follow(pass, &self.items)?,
                (None, Some(codebook)) => return codebook.count(),
                (Some(MemoryPass { updated: Some(updated), .. }), None) => updated.shallow_clone(),
                (_, None) => normalize_rows(&self.items)?,
            };
            Ok(self.items.f_copy_(&items)?)
        })
    }

    /// Lets the scale follow a batch, where there is one.
    fn commit_scale(&mut self, z: &Tensor) -> Result<()> {
        let Some(before) = self.running_scale(z)? else { return Ok(()) };
        let Some(scale) = &mut self.scale else { return Ok(()) };
        let decay = self.config.ema.decay;
        let kept = before.f_square()?.f_mul_scalar(decay)?;
        let of_batch = root_mean_square(z)?.f_square()?.f_mul_scalar(1.0 - decay)?;
        Ok(scale.f_copy_(&kept.f_add(&of_batch)?.f_sqrt()?)?)
    }

    fn query(&self, z: &Tensor, scale: Option<&Tensor>) -> Result<Tensor> {
        let query = rows(&at_least_f32(z)?)?;
        match scale {
            Some(scale) => Ok(query.f_div(&scale.f_to_kind(query.kind())?)?),
            None if self.config.normalize_query => unit_queries(&query),
            None => Ok(query),
        }
    }

    fn read_items(&self, query: Tensor, items: Tensor) -> Result<MemoryPass> {
        let metric = Metric::of(&self.config);
        let similarity = similarity(&query, &items, metric)?;
        let assignment = assign(&similarity.f_detach()?)?;
        let counts = count(&assignment, &similarity)?;
        // The weights stay attached: without them the motion loss sends the encoder nothing.
        let weights = similarity.f_div_scalar(self.config.temperature)?.f_softmax(-1, None)?;
        let updated = None;
        let follows_queries = self.config.update == MemoryUpdate::Ema;
        Ok(MemoryPass {
            query,
            items,
            similarity,
            assignment,
            counts,
            weights,
            updated,
            metric,
            follows_queries,
        })
    }
}

/// The decoders' input in a network without memory: normalised `z`, `[B, C, H, H]`.
pub(crate) fn normalized_bottleneck(z: &Tensor) -> Result<Tensor> {
    like_bottleneck(&unit_queries(&rows(&at_least_f32(z)?)?)?, z)
}

/// `m'_j = normalise((1 − eta) m_j + eta Σ_i v_ij q_i)` (Eq. 11, 12), with `v` the softmax of the
/// similarity over the queries in scope. The paper writes `m + Σ v q`, which is eta = 0.5.
///
/// Cosines lie in [-1, 1], so that their exponentials need no shift.
fn update(items: &Tensor, query: &Tensor, config: &MemoryConfig) -> Result<Tensor> {
    let channels = items.size2()?.1;
    let query = query.f_reshape([-1, channels])?; // [B K, C]
    let similarity = similarity(&query, items, Metric::of(config))?; // [B K, N]
    let mut pull = similarity.f_exp()?;
    if config.update_scope == UpdateScope::Nearest {
        let count = similarity.size2()?.1;
        let nearest = assign(&similarity.f_detach()?)?.f_one_hot(count)?;
        pull = pull.f_mul(&nearest.f_to_kind(pull.kind())?)?;
    }
    let total = pull.f_sum_dim_intlist([0i64].as_slice(), true, None)?; // [1, N]
    let v = pull.f_div(&total.f_clamp_min(1e-12)?)?;
    let pulled = v.f_transpose(0, 1)?.f_matmul(&query)?; // [N, C]
    let kept = items.f_mul_scalar(1.0 - config.update_rate)?;
    let blended = normalize_rows(&kept.f_add(&pulled.f_mul_scalar(config.update_rate)?)?)?;
    // An item without queries stays exactly as it is.
    let has_queries = total.f_detach()?.f_gt(0.0)?.f_transpose(0, 1)?; // [N, 1]
    Ok(blended.f_where_self(&has_queries, items)?)
}
