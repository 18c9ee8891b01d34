//! The gRPC service over any [`protoguard_core::Scorer`], and never over tensors.
//!
//! A clip goes through
//! ```text
//! request -> admission -> decode (rayon) -> batcher -> worker (a thread a replica) -> response
//! ```
//! Overload is refused at the first step, before a picture is decoded; every later step is
//! bounded by the permit that was taken there. Bytes on their way to it have a bound of their own.
//! The batcher gives a free worker all that waits and starts no timer. A caller that went away or
//! whose deadline passed is dropped before it costs compute.
//!
//! [`Service`] is the life of a server: it loads and warms up the models of a [`ModelSource`],
//! answers on a listener, [puts](Reloader) one model in another's place, tells on a [port of its
//! own](Probes) how it is, and drains. Deliberately absent: configuration files, signals and the
//! models themselves, which are the server's, and any state that outlives a request.
//!
//! Below the life of a server lie five rooms, and each may use those after it alone:
//! ```text
//! rpc -> registry -> worker -> queue      the methods, the models, their threads, their queue
//! rpc -> transport                        sockets, and what a request passes before its method
//! ```
//! `config` gathers what `queue` and `transport` may be told, for `registry` and `rpc`. `health`,
//! `metrics`, `error` and `file_stamp` are for all rooms and use none.

mod config;
mod error;
mod file_stamp;
mod health;
mod metrics;
mod queue;
mod registry;
mod rpc;
mod serve_error;
mod service;
pub mod testing;
mod transport;
mod worker;

pub use config::{DrainConfig, ServiceConfig, StreamConfig};
pub use error::{ServiceError, Unavailable};
pub use file_stamp::FileStamp;
pub use metrics::Metrics;
pub use protoguard_frames::DecodeLimits;
pub use queue::admission::AdmissionLimits;
pub use queue::dispatcher::BatchPolicy;
pub use registry::error::{ModelError, NameError};
pub use registry::reload::{ReloadError, Reloaded, Reloader, Round};
pub use registry::source::{FoundModel, ModelSource, ModelSpec, Slot, SourceError};
pub use rpc::status::DOMAIN;
pub use serve_error::ServeError;
pub use service::{Prepared, Service, run};
pub use transport::credentials::files::{CredentialError, CredentialFiles, TlsFiles};
pub use transport::limits::ConnectionConfig;
pub use transport::probes::Probes;
pub use transport::trace_context::{TraceContext, Traces};
pub use worker::crew::ThreadError;
