//! A batch in a worker's hands, and its forward pass.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use protoguard_core::{ClipScore, Scorer, ScorerError, ScorerInput};
use tokio::time::Instant;
use tracing::error;

use crate::error::ServiceError;
use crate::metrics::Stage;
use crate::queue::job::{Job, Lapse, Scored, Ticket};

/// Clips side by side, as a scorer takes them, and their callers in the same order.
#[derive(Default)]
pub(crate) struct Batch {
    pub(crate) inputs: Vec<ScorerInput>,
    tickets: Vec<Ticket>,
}

/// How a forward pass failed.
pub(crate) enum Failure {
    /// A smaller batch may succeed, on a new replica where this one panicked.
    Batch { reason: String, panicked: bool },
    /// A smaller batch may fit the device.
    Memory { reason: String },
    /// Nothing will succeed on this thread.
    Lost(ScorerError),
}

/// The time that a forward pass took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pass {
    pub(crate) started: Instant,
    pub(crate) compute: Duration,
}

impl From<Vec<Job>> for Batch {
    fn from(jobs: Vec<Job>) -> Self {
        let mut batch = Self::default();
        jobs.into_iter().for_each(|job| batch.push(job));
        batch
    }
}

impl Batch {
    fn push(&mut self, Job { input, ticket }: Job) {
        self.inputs.push(input);
        self.tickets.push(ticket);
    }

    pub(crate) fn len(&self) -> usize {
        self.inputs.len()
    }

    pub(crate) fn request_ids(&self) -> impl Iterator<Item = &str> {
        self.tickets.iter().map(|ticket| ticket.request_id.as_str())
    }

    /// The jobs, in their order.
    pub(crate) fn into_jobs(self) -> impl Iterator<Item = Job> {
        self.inputs.into_iter().zip(self.tickets).map(|(input, ticket)| Job { input, ticket })
    }

    pub(crate) fn split_off(&mut self, at: usize) -> Self {
        Self { inputs: self.inputs.split_off(at), tickets: self.tickets.split_off(at) }
    }

    /// Ends the jobs that nobody needs, or that a pass of `compute` would answer too late. Says
    /// whether any was too late for that.
    pub(crate) fn drop_lapsed(&mut self, compute: Duration) -> bool {
        let now = Instant::now();
        if self.tickets.iter().all(|ticket| ticket.lapse(now, compute).is_none()) {
            return false;
        }
        let mut hopeless = false;
        for job in std::mem::take(self).into_jobs() {
            match job.ticket.lapse(now, compute) {
                None => self.push(job),
                Some(lapse) => {
                    hopeless |= lapse == Lapse::Hopeless;
                    job.ticket.lapsed(lapse);
                }
            }
        }
        hopeless
    }

    /// The forward pass begins: the clips wait no longer.
    pub(crate) fn begin(&mut self) {
        self.tickets.iter_mut().for_each(|ticket| drop(ticket.waiting.take()));
    }

    pub(crate) fn answer_all(self, scores: Vec<ClipScore>, pass: Pass) {
        let batch_size = self.tickets.len();
        for (ticket, score) in self.tickets.into_iter().zip(scores) {
            if let Some(reason) = not_finite(&score) {
                refuse(ticket, reason, pass);
                continue;
            }
            let queue = pass.started.saturating_duration_since(ticket.enqueued_at);
            ticket.metrics.took(Stage::Queue, "ok", queue);
            ticket.metrics.took(Stage::Compute, "ok", pass.compute);
            let Pass { compute, .. } = pass;
            ticket.answer(Ok(Scored { score, queue, compute, batch_size }));
        }
    }

    pub(crate) fn refuse_all(self, reason: &str, pass: Pass) {
        self.tickets.into_iter().for_each(|ticket| refuse(ticket, reason, pass));
    }
}

/// One forward pass, its answer checked: as many scores as clips, or a failure.
pub(crate) fn forward(
    scorer: &mut dyn Scorer,
    batch: &[ScorerInput],
) -> Result<Vec<ClipScore>, Failure> {
    let failed = |reason| Err(Failure::Batch { reason, panicked: false });
    match catch_unwind(AssertUnwindSafe(|| scorer.score(batch))) {
        Ok(Ok(scores)) if scores.len() == batch.len() => Ok(scores),
        Ok(Ok(scores)) => {
            failed(format!("scorer gave {} scores for {} clips", scores.len(), batch.len()))
        }
        Ok(Err(ScorerError::Batch { reason })) => failed(reason),
        Ok(Err(error @ ScorerError::OutOfMemory { .. })) => {
            Err(Failure::Memory { reason: error.to_string() })
        }
        Ok(Err(error)) => Err(Failure::Lost(error)),
        Err(panic) => {
            let reason = format!("scorer panicked: {}", words_of(panic.as_ref()));
            Err(Failure::Batch { reason, panicked: true })
        }
    }
}

fn refuse(ticket: Ticket, reason: &str, pass: Pass) {
    ticket.span.in_scope(|| error!(reason, "clip failed"));
    ticket.metrics.took(Stage::Compute, "internal", pass.compute);
    ticket.answer(Err(ServiceError::Compute { reason: reason.to_owned() }));
}

fn not_finite(score: &ClipScore) -> Option<&'static str> {
    if score.psnr.is_some_and(|psnr| !psnr.0.is_finite()) {
        return Some("its PSNR is not finite");
    }
    if score.maps.as_ref().is_some_and(|maps| !maps.is_finite()) {
        return Some("its maps are not finite");
    }
    let distance = score.feature_distance?;
    (!distance.0.is_finite()).then_some("its feature distance is not finite")
}

pub(crate) fn words_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "?".to_owned())
}

#[cfg(test)]
mod tests {
    use protoguard_core::{ClipMaps, FeatureDistance, Plane, PsnrDb};

    use super::*;

    fn score(cell: f32) -> ClipScore {
        let plane = |value| Plane { height: 1, width: 1, channels: 1, values: [value].into() };
        ClipScore {
            psnr: Some(PsnrDb(30.0)),
            feature_distance: Some(FeatureDistance(0.1)),
            maps: Some(ClipMaps {
                error: plane(0.1),
                moved: plane(0.1),
                speed: plane(1.0),
                feature_distance: Some(plane(cell)),
            }),
            ..ClipScore::default()
        }
    }

    #[test]
    fn what_is_no_number_is_named() {
        assert_eq!(not_finite(&score(0.1)), None);
        assert_eq!(not_finite(&score(f32::NAN)), Some("its maps are not finite"));
        let broken = ClipScore { psnr: Some(PsnrDb(f64::NAN)), ..score(0.1) };
        assert_eq!(not_finite(&broken), Some("its PSNR is not finite"));
        let broken =
            ClipScore { feature_distance: Some(FeatureDistance(f64::INFINITY)), ..score(0.1) };
        assert_eq!(not_finite(&broken), Some("its feature distance is not finite"));
    }
}
