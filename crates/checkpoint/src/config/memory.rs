//! How a memory is read and how it follows the queries.

use serde::{Deserialize, Serialize};

use super::bounds::{ConfigError, require};

/// The memory of prototypes.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct MemoryConfig {
    /// `N`, the number of items (Table IV).
    pub items: usize,
    /// `tau` of the read's softmax (Eq. 9); the paper's is 1.
    pub temperature: f64,
    /// How items follow the queries.
    pub update: MemoryUpdate,
    /// `eta`, the share of the queries in an updated item (Eq. 12); the paper's is 0.5.
    pub update_rate: f64,
    /// Which queries pull an item (Eq. 11).
    pub update_scope: UpdateScope,
    /// How a loss reaches the items that [`MemoryUpdate::Paper`] moves.
    pub gradient: MemoryGradient,
    /// Whether queries are unit vectors. With [`MemoryUpdate::Paper`] items always are, so that
    /// raw queries measure a mismatch of norms. With [`MemoryUpdate::Ema`] raw queries are divided
    /// by one number, their running root mean square, and items lie among them.
    pub normalize_query: bool,
    /// How [`MemoryUpdate::Ema`] moves the items.
    pub ema: EmaConfig,
}

/// How memory items follow the queries in training.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryUpdate {
    /// By Eq. 11 and 12, with `update_rate` and `update_scope`.
    Paper,
    /// Each is the running mean of the queries whose nearest item it was: the codebook of a
    /// VQ-VAE (van den Oord 2017). See [`EmaConfig`].
    Ema,
}

/// A codebook of running means.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct EmaConfig {
    /// Share of the past in the running sums that a batch leaves.
    pub decay: f64,
    /// Batches in which decoders read the queries themselves. The items are then spread over the
    /// next batch's queries, each as far as possible from those before it.
    pub warmup: u64,
    /// An item whose running count falls under this share of the mean count takes the place of a
    /// random query of the batch; 0 for never.
    pub restart: f64,
}

/// Which queries pull an item in an update.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateScope {
    /// Only those whose nearest item it is; an item without queries stays as it is.
    Nearest,
    /// All queries, as the paper writes it. It pulls every item to the same mean query.
    All,
}

/// How the gradient of a loss reaches the memory items `M`.
///
/// The values of the first two are the same: Eq. 11 and 12 make `M'` of `M` and the batch's
/// queries, the batch's read and losses use `M'`, and committing the batch stores it
/// after the optimiser's step. They differ in what flows back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MemoryGradient {
    /// `M'` is a differentiable function of the queries: losses reach the encoder through it.
    ThroughUpdate,
    /// `M'` is a constant: losses reach the encoder through the queries and weights alone.
    None,
    /// `M` is a trained parameter and Eq. 11 and 12 are not applied. The forward uses its rows
    /// normalised, and `commit_memory` puts the stored rows back on the unit sphere.
    Param,
}

impl Default for MemoryConfig {
    fn default() -> Self {
        Self {
            items: 100,
            temperature: 1.0,
            update: MemoryUpdate::Paper,
            update_rate: 0.1,
            update_scope: UpdateScope::Nearest,
            gradient: MemoryGradient::ThroughUpdate,
            normalize_query: true,
            ema: EmaConfig::default(),
        }
    }
}

impl Default for EmaConfig {
    fn default() -> Self {
        Self { decay: 0.99, warmup: 0, restart: 0.02 }
    }
}

impl MemoryConfig {
    /// A bound for the same reason.
    pub const MAX_ITEMS: usize = 65_536;

    /// Checks every field.
    ///
    /// # Errors
    /// As [`ModelConfig::validate`](super::ModelConfig::validate).
    pub fn validate(&self) -> Result<(), ConfigError> {
        let Self { items, temperature, update_rate, .. } = *self;
        require((2..=Self::MAX_ITEMS).contains(&items), || {
            ("memory.items", items.to_string(), "from 2 to 65536")
        })?;
        require(temperature.is_finite() && temperature > 0.0, || {
            ("memory.temperature", temperature.to_string(), "a finite number above 0")
        })?;
        require(update_rate > 0.0 && update_rate < 1.0, || {
            ("memory.update_rate", update_rate.to_string(), "above 0 and below 1")
        })?;
        let trained = self.gradient == MemoryGradient::Param;
        require(!trained || self.update == MemoryUpdate::Paper, || {
            ("memory.gradient", "param".to_owned(), "through_update or none with update = \"ema\"")
        })?;
        self.ema.validate()
    }

    /// Whether raw queries are divided by their running root mean square, which a checkpoint then
    /// holds.
    pub fn scales_query(&self) -> bool {
        self.update == MemoryUpdate::Ema && !self.normalize_query
    }
}

impl EmaConfig {
    fn validate(&self) -> Result<(), ConfigError> {
        let Self { decay, restart, .. } = *self;
        require((0.0..1.0).contains(&decay), || {
            ("memory.ema.decay", decay.to_string(), "at least 0 and below 1")
        })?;
        require((0.0..1.0).contains(&restart), || {
            ("memory.ema.restart", restart.to_string(), "at least 0 and below 1")
        })
    }
}
