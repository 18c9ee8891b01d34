//! The gRPC service over any [`protoguard_core::Scorer`], and never over tensors.
//!
//! A clip goes through
//! ```text
//! request -> admission -> decode (rayon) -> batcher -> worker (a thread a replica) -> response
//! ```
//! Overload is refused at the first step, before a picture is decoded; every later step is
//! bounded by the permit that was taken there. The [batcher](BatchPolicy) gives a free worker all
//! that waits and starts no timer for a lone clip. A caller that went away or whose deadline
//! passed is dropped before it costs compute.
//!
//! [`Service`] is the life of a server: it loads and warms up the models, answers on a listener,
//! and drains. Deliberately absent: configuration files, signals and the models themselves, which
//! are the server's, and any state that outlives a request.

mod admission;
mod batch_policy;
mod batcher;
mod config;
mod connections;
mod deadline;
mod decode;
mod dispatcher;
mod error;
mod health;
mod job;
mod message_limit;
mod model;
mod model_service;
mod offload;
mod pictures;
mod registry;
mod scoring_service;
mod service;
pub mod testing;
mod verdict;
mod worker;

pub use batch_policy::{BatchPolicy, Decision, QueueView};
pub use config::{AdmissionLimits, DrainConfig, ServiceConfig};
pub use error::{DOMAIN, ServeError, ServiceError, Unavailable};
pub use model::ModelSpec;
pub use protoguard_data::DecodeLimits;
pub use service::{Service, run};
