//! The methods, and what they say on the wire: requests to clips, scores to responses, errors to
//! statuses. Above all other rooms.

mod call;
mod checks;
mod context;
pub(crate) mod decode;
mod inference_service;
mod model_service;
mod offload;
mod response;
pub(crate) mod routes;
mod scoring_service;
pub(crate) mod status;
mod stream;
