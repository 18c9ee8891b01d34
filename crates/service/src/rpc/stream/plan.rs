//! A clip of a stream on its way to its scores.

use std::sync::Arc;
use std::time::Duration;

use protoguard_core::ScorerInput;
use protoguard_proto::{Opening, StreamMode, v1};
use tokio::time::sleep;
use tracing::{Instrument, info_span};

use super::super::offload::offload;
use super::super::response::{add_pictures, add_verdict, count_verdict, has_pictures, response_of};
use super::judge::Judge;
use super::pending::{Outcome, ScoredFrame};
use crate::error::{ServiceError, Unavailable};
use crate::queue::fair_queue::CallerId;
use crate::queue::intake::{Admitted, NotAdmitted};

/// How long a frame that must not be lost waits for room before it asks again: at first, and at
/// most.
const ASK_AGAIN: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(80)];

/// A clip on its way to its scores.
pub(super) struct Plan {
    pub(super) judge: Arc<Judge>,
    pub(super) opening: Arc<Opening>,
    pub(super) caller: CallerId,
    pub(super) input: ScorerInput,
    pub(super) decode: Duration,
}

impl Plan {
    /// Takes room for the clip.
    pub(super) fn admit(&self) -> Result<Admitted, NotAdmitted> {
        self.judge.model.intake().admit(self.input.clip.bytes(), self.caller, None)
    }

    /// Scores the clip, once there is room for it where it must not be lost.
    pub(super) async fn outcome(self, first: Result<Admitted, NotAdmitted>) -> Outcome {
        let mut asked = first;
        let [mut wait, longest] = ASK_AGAIN;
        let is_lossless = self.opening.mode == StreamMode::Lossless;
        let admitted = loop {
            let model = || self.judge.model.slot().to_string();
            match asked {
                Ok(admitted) => break admitted,
                Err(NotAdmitted::Refused(ServiceError::Overloaded { .. })) if !is_lossless => {
                    return Outcome::Skipped;
                }
                Err(NotAdmitted::Refused(ServiceError::Overloaded { .. })) => {}
                Err(NotAdmitted::Refused(error)) => return Outcome::Failed(error),
                Err(NotAdmitted::Replaced) => {
                    let why = Unavailable::Replaced;
                    return Outcome::Failed(ServiceError::Unavailable { model: model(), why });
                }
            }
            sleep(wait).await;
            wait = longest.min(2 * wait);
            asked = self.admit();
        };
        match self.score(admitted).await {
            Ok(scored) => Outcome::Scored(Box::new(scored)),
            Err(error) => Outcome::Failed(error),
        }
    }

    async fn score(self, admitted: Admitted) -> Result<ScoredFrame, ServiceError> {
        let Self { judge, opening, input, decode, .. } = self;
        let model = &judge.model;
        let scored = model.intake().score(admitted, input, opening.camera.clone());
        let scored = scored.instrument(info_span!("queue_and_compute")).await?;
        let mut response = response_of(model.card(), &scored, decode);
        let rate = judge.false_alarm_rate;
        let calibration = judge.calibration.as_ref();
        let surprise = add_verdict(&mut response, &scored.score, calibration, rate);
        count_verdict(&response, model.metrics(), judge.scene());
        if has_pictures(&scored.score) {
            let encoding = opening.image_encoding;
            response = offload("encoding of pictures", move || {
                add_pictures(&mut response, &scored.score, encoding).map(|()| response)
            })
            .await??;
        }
        let response = v1::ScoreClipResponse {
            model: String::new(),
            model_version: String::new(),
            calibration_id: String::new(),
            regularity_threshold: None,
            surprise_threshold: None,
            false_alarm_rate: None,
            ..response
        };
        Ok(ScoredFrame { response, surprise })
    }
}
