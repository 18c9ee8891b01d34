//! Requests as parts of their callers' traces.
//!
//! The service makes spans and does not know who collects them. Whoever does is handed the span of
//! a request before it begins, with what the caller says of the trace that it belongs to.

use tonic::metadata::MetadataMap;
use tracing::Span;

/// A caller's trace and span in the words of W3C Trace Context, as they came: nobody has checked
/// them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TraceContext {
    /// `traceparent`.
    pub parent: String,
    /// `tracestate`; empty where the caller has none.
    pub state: String,
}

/// Where spans are collected.
pub trait Traces: Send + Sync {
    /// Makes `span`, which was never entered, a child of the caller's.
    fn join(&self, span: &Span, caller: &TraceContext);
}

impl TraceContext {
    pub(crate) fn of(metadata: &MetadataMap) -> Option<Self> {
        let parent = metadata.get("traceparent")?.to_str().ok()?.to_owned();
        let states = metadata.get_all("tracestate");
        let states: Vec<&str> = states.iter().filter_map(|state| state.to_str().ok()).collect();
        Some(Self { parent, state: states.join(",") })
    }
}
