//! Sockets, and what a request passes before its method sees it: credentials, its deadline, its
//! counting, and bounds on its message. Knows nothing of models, nor of gRPC's codes: what answers
//! by itself is handed the table of errors.

mod accepting;
pub(crate) mod byte_budget;
pub(crate) mod connection;
pub(crate) mod connections;
pub(crate) mod counting;
pub(crate) mod credentials;
pub(crate) mod deadline;
pub(crate) mod limits;
mod lingering;
mod opening;
pub(crate) mod peer;
pub(crate) mod probes;
pub(crate) mod receiving;
pub(crate) mod trace_context;

/// The path of the call that lasts as long as its caller likes, and whose requests are many.
pub(crate) const SCORE_STREAM: &str = "/protoguard.v1.ScoringService/ScoreStream";
