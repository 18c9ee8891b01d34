//! Where the checkout is, and how programs are built and started in it: the workspace's own, and
//! those of others that checks use.
//!
//! `xtask` and `lab` share it. A fresh clone compiles it first, with `xtask`, hence few dependencies;
//! libtorch is deliberately absent.
#![allow(clippy::print_stderr, reason = "a command that starts others speaks to its caller")]

pub mod pip;
pub mod process;
pub mod programs;
pub mod server;
pub mod tools;
pub mod workspace;
