//! Clips that would be too late are refused before they are received.
//!
//! Under overload a clip costs its caller's upload, the server's copies and a decoding before the
//! queue finds that nobody will hear the answer, and those who can be answered pay for it. The
//! deadline comes with the headers, so a caller can be told at once.

use std::sync::Arc;

use tonic::Status;
use tonic::codegen::http::Request;

use crate::metrics::AskedModel;
use crate::registry::models::Registry;
use crate::transport::auth::caller_of;
use crate::transport::deadline::Deadline;
use crate::transport::gate::Check;

const SCORE_CLIP: &str = "/protoguard.v1.ScoringService/ScoreClip";

impl Check for Arc<Registry> {
    /// A clip that no model could answer in time. Which one it asks for stands in the message, so
    /// it is counted as the default's.
    fn refusal<B>(&self, request: &Request<B>) -> Option<Status> {
        if request.uri().path() != SCORE_CLIP {
            return None;
        }
        let extensions = request.extensions();
        let Deadline(deadline) = *extensions.get()?;
        if !self.is_hopeless(caller_of(extensions), deadline) {
            return None;
        }
        let model = self.find(None).ok()?;
        if let Some(asked) = extensions.get::<AskedModel>() {
            asked.is(&model.slot().name);
        }
        Some(model.refuse_hopeless().into())
    }
}
