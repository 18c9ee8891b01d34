//! The methods, and what they say on the wire.

pub(crate) mod decode;
mod model_service;
mod offload;
mod response;
pub(crate) mod routes;
mod scoring_service;
pub(crate) mod status;
