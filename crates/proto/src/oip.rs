//! The wire types of the Open Inference Protocol, generated from `proto/inference/*.proto`.

include!("generated/inference.rs");
