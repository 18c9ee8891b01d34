//! What libtorch has and tch does not bind, behind safe functions: `native/torch_extras.cpp`, of
//! which little is more than a call; Winograd's convolutions, `native/convolve.cpp`; up-convolutions
//! of bytes, `native/up_bytes.cpp`; and an allocator for the CPU, `native/host_memory.cpp`.
//!
//! Small C++ files instead of a fork of tch.
#![allow(unsafe_code, reason = "the one place where this crate calls C++")]

pub mod adam;
mod call;
pub mod convolution;
pub mod error;
pub mod host_memory;
pub mod layout;
pub mod processor;
pub mod quantized;
pub mod refused_memory;
pub mod settings;
pub mod transfer;
pub mod winograd;
