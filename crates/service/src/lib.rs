//! The gRPC service over any [`protoguard_core::Scorer`], and never over tensors.
//!
//! A clip goes through
//! ```text
//! request -> admission -> decode (rayon) -> batcher -> worker (a thread a replica) -> response
//! ```
//! Overload is refused at the first step, before a picture is decoded; every later step is
//! bounded by the permit that was taken there. Bytes on their way to it have a bound of their own. The [batcher](BatchPolicy) gives a free worker all
//! that waits and starts no timer for a lone clip. A caller that went away or whose deadline
//! passed is dropped before it costs compute.
//!
//! [`Service`] is the life of a server: it loads and warms up the models of a [`ModelSource`],
//! answers on a listener, [puts](Reloader) one model in another's place, tells on a [port of its
//! own](Probes) how it is, and drains. Deliberately absent: configuration files, signals and the models themselves, which
//! are the server's, and any state that outlives a request.

mod admission;
mod auth;
mod batch;
mod batch_policy;
mod batcher;
mod byte_budget;
mod compatible;
mod config;
mod connections;
mod credentials;
mod crew;
mod deadline;
mod decode;
mod dispatcher;
mod door;
mod error;
mod estimate;
mod fair_queue;
mod gate;
mod health;
mod job;
mod metrics;
mod model;
mod model_service;
mod offload;
mod pictures;
mod probes;
mod receiving;
mod registry;
mod reload;
mod routes;
mod scoring_service;
mod serve_error;
mod service;
mod source;
pub mod testing;
mod tonic_errors;
mod trace_context;
mod turns;
mod verdict;
mod watchdog;
mod worker;

pub use batch_policy::{BatchPolicy, Decision, QueueView};
pub use config::{AdmissionLimits, ConnectionConfig, DrainConfig, ServiceConfig};
pub use credentials::{CredentialError, CredentialFiles, TlsFiles};
pub use error::{DOMAIN, ServiceError, Unavailable};
pub use metrics::Metrics;
pub use model::ModelSpec;
pub use probes::Probes;
pub use protoguard_frames::DecodeLimits;
pub use reload::{ReloadError, Reloaded, Reloader, Round};
pub use serve_error::ServeError;
pub use service::{Prepared, Service, run};
pub use source::{FileStamp, FoundModel, ModelSource, Slot, SourceError};
pub use trace_context::{TraceContext, Traces};
