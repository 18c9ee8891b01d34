//! Configuration in layers: defaults, then a file, then the environment, then flags.
//!
//! [`RawConfig`] defines every key once and is what the layers say together; it refuses keys that
//! it does not know and values that a key cannot take. [`Config`] is what the server runs on, with
//! what keys owe to each other checked. Nothing behind this module sees a raw value.

mod edges;
mod entries;
mod error;
#[cfg(test)]
mod every_key;
mod kinds;
mod layers;
mod manual;
#[cfg(test)]
mod mutated;
mod names;
mod raw;
mod valid;
mod words;

pub(crate) use error::ConfigError;
pub(crate) use layers::{Layers, flag_layer};
pub(crate) use names::is_model_name;
pub(crate) use raw::RawConfig;
pub(crate) use valid::{Config, LogConfig, ModelFile, WorkerConfig};
pub(crate) use words::LogFormat;
