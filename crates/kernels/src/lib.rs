//! What libtorch has and tch does not bind, and the convolutions that it lacks: small C++ files behind
//! safe functions, instead of a fork of tch.
//!
//! [`convolution`], [`quantized`] and [`winograd`] compute the layers of a graph that is served, and
//! [`winograd::trained`] those of one that is trained; [`adam`] moves the weights. [`transfer`] takes
//! pixels to a device and numbers from it, [`host_memory`] keeps large blocks on the CPU,
//! [`settings`] holds the switches of the process, [`waiting`] says how its threads wait for work,
//! and [`processor`] which instructions there are.
//!
//! ```text
//! protoguard_kernels::host_memory::keep_host_memory()?; // before the first tensor
//! let weights = WinogradWeights::new(&weight, Kind::Float)?;
//! let output = weights.forward(&input, Some(&bias), None, Activation::Relu)?;
//! ```
//!
//! A function of the C++ (`native/`) checks the kind, size, layout and device of every tensor whose
//! memory it reads as numbers, and returns a fault instead of throwing: [`KernelError::Native`], with
//! the [`Fault`] that says what can be done.
//!
//! Deliberately absent: networks, layers and what they are for, and everything else of ours.
#![allow(unsafe_code, reason = "the one crate that calls C++ of ours")]

pub mod adam;
mod call;
pub mod convolution;
mod error;
pub mod host_memory;
pub mod layout;
pub mod processor;
pub mod quantized;
pub mod refused_memory;
pub mod settings;
pub mod transfer;
pub mod waiting;
pub mod winograd;

pub use error::{Fault, KernelError, Result};
