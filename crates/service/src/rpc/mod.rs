//! The methods, and what they say on the wire.

pub(crate) mod decode;
mod door;
mod model_service;
mod offload;
mod pictures;
pub(crate) mod routes;
mod scoring_service;
mod tonic_errors;
mod verdict;
