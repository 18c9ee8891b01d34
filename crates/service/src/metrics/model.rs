//! What is counted of one model.

use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use protoguard_core::{CameraState, ModelCard};
use protoguard_proto::v1::FrameOutcome;

use super::{Metrics, ModelInfo, ModelOutcome, ModelScene, ModelState, OfModel};

/// What may become of a frame of a stream.
const FRAME_OUTCOMES: [FrameOutcome; 6] = [
    FrameOutcome::Scored,
    FrameOutcome::WarmingUp,
    FrameOutcome::Skipped,
    FrameOutcome::OffGrid,
    FrameOutcome::Failed,
    FrameOutcome::NoVerdict,
];

/// The outcome as label values go.
fn label_of(outcome: FrameOutcome) -> &'static str {
    match outcome {
        FrameOutcome::Unspecified => "unspecified",
        FrameOutcome::Scored => "scored",
        FrameOutcome::WarmingUp => "warming_up",
        FrameOutcome::Skipped => "skipped",
        FrameOutcome::OffGrid => "off_grid",
        FrameOutcome::Failed => "failed",
        FrameOutcome::NoVerdict => "no_verdict",
    }
}

/// The metrics of one model; a model and its successor of the same name share them.
#[derive(Clone, Debug)]
pub(crate) struct ModelMetrics {
    all: Metrics,
    model: String,
    queue_clips: Gauge,
    queue_bytes: Gauge,
    in_flight_clips: Gauge,
    workers_alive: Gauge,
    batch_size: Histogram,
    clips: Counter,
    expired: Counter,
    cancelled: Counter,
    oom_splits: Counter,
    streams: Gauge,
}

/// A step whose duration is charted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Stage {
    Queue,
    Decode,
    Compute,
}

/// Counts in a gauge for as long as it lives.
#[derive(Debug)]
pub(crate) struct Gauged {
    gauge: Gauge,
    amount: i64,
}

impl Gauged {
    fn new(gauge: &Gauge, amount: usize) -> Self {
        let amount = i64::try_from(amount).unwrap_or(i64::MAX);
        gauge.inc_by(amount);
        Self { gauge: gauge.clone(), amount }
    }
}

impl Drop for Gauged {
    fn drop(&mut self) {
        self.gauge.dec_by(self.amount);
    }
}

impl ModelMetrics {
    pub(crate) fn new(all: &Metrics, model: &str) -> Self {
        let of = OfModel { model: model.to_owned() };
        let families = &all.families;
        // A rate and an increase need a series from before the first count.
        for outcome in FRAME_OUTCOMES {
            let labels = ModelOutcome { model: model.to_owned(), outcome: label_of(outcome) };
            let _ = families.stream_frames.get_or_create(&labels);
            let _ = families.stream_answer_duration.get_or_create(&labels);
        }
        for state in CameraState::ALL {
            let labels = ModelState { model: model.to_owned(), state: state.name() };
            let _ = families.camera_states.get_or_create(&labels);
        }
        Self {
            model: model.to_owned(),
            queue_clips: families.queue_clips.get_or_create_owned(&of),
            queue_bytes: families.queue_bytes.get_or_create_owned(&of),
            in_flight_clips: families.in_flight_clips.get_or_create_owned(&of),
            workers_alive: families.workers_alive.get_or_create_owned(&of),
            batch_size: families.batch_size.get_or_create_owned(&of),
            clips: families.clips.get_or_create_owned(&of),
            expired: families.clips_expired.get_or_create_owned(&of),
            cancelled: families.clips_cancelled.get_or_create_owned(&of),
            oom_splits: families.oom_splits.get_or_create_owned(&of),
            streams: families.streams.get_or_create_owned(&of),
            all: all.clone(),
        }
    }

    pub(crate) fn admitted(&self) -> Gauged {
        Gauged::new(&self.in_flight_clips, 1)
    }

    /// A stream that is open.
    pub(crate) fn stream(&self) -> Gauged {
        Gauged::new(&self.streams, 1)
    }

    /// A frame of a stream was answered so long after it came.
    pub(crate) fn stream_frame(&self, outcome: FrameOutcome, took: Duration) {
        let labels = ModelOutcome { model: self.model.clone(), outcome: label_of(outcome) };
        let families = &self.all.families;
        families.stream_frames.get_or_create(&labels).inc();
        families.stream_answer_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    /// An alarm was raised.
    pub(crate) fn alarm(&self, scene: &str) {
        let labels = ModelScene { model: self.model.clone(), scene: scene.to_owned() };
        self.all.families.alarms.get_or_create(&labels).inc();
    }

    /// A camera's picture went wrong.
    pub(crate) fn camera_state(&self, state: CameraState) {
        let labels = ModelState { model: self.model.clone(), state: state.name() };
        self.all.families.camera_states.get_or_create(&labels).inc();
    }

    /// A clip of so many bytes that waits; both are counted until they are dropped.
    pub(crate) fn waiting(&self, bytes: usize) -> [Gauged; 2] {
        [Gauged::new(&self.queue_clips, 1), Gauged::new(&self.queue_bytes, bytes)]
    }

    pub(crate) fn worker_alive(&self) -> Gauged {
        Gauged::new(&self.workers_alive, 1)
    }

    pub(crate) fn took(&self, stage: Stage, outcome: &'static str, duration: Duration) {
        let families = &self.all.families;
        let family = match stage {
            Stage::Queue => &families.queue_duration,
            Stage::Decode => &families.decode_duration,
            Stage::Compute => &families.compute_duration,
        };
        let labels = ModelOutcome { model: self.model.clone(), outcome };
        family.get_or_create(&labels).observe(duration.as_secs_f64());
    }

    /// A forward pass of so many clips succeeded.
    pub(crate) fn computed(&self, clips: usize) {
        self.batch_size.observe(clips as f64);
        self.clips.inc_by(clips as u64);
    }

    pub(crate) fn expired(&self) {
        self.expired.inc();
    }

    pub(crate) fn cancelled(&self) {
        self.cancelled.inc();
    }

    pub(crate) fn oom_split(&self) {
        self.oom_splits.inc();
    }

    pub(crate) fn regularity(&self, scene: &str, regularity: f64) {
        let labels = ModelScene { model: self.model.clone(), scene: scene.to_owned() };
        self.all.families.regularity.get_or_create(&labels).observe(regularity);
    }

    pub(crate) fn surprise(&self, scene: &str, surprise: f64) {
        let labels = ModelScene { model: self.model.clone(), scene: scene.to_owned() };
        self.all.families.surprise.get_or_create(&labels).observe(surprise);
    }

    /// The model begins to be served.
    pub(crate) fn shown(&self, card: &ModelCard) {
        self.all.families.model_info.get_or_create(&self.info(card)).inc();
        for calibration in &card.calibrations {
            let scene = calibration.scene.clone().unwrap_or_default();
            let labels = ModelScene { model: self.model.clone(), scene };
            let _ = self.all.families.alarms.get_or_create(&labels);
        }
    }

    /// The model is no longer served.
    pub(crate) fn hidden(&self, card: &ModelCard) {
        let labels = self.info(card);
        if self.all.families.model_info.get_or_create(&labels).dec() <= 1 {
            self.all.families.model_info.remove(&labels);
        }
    }

    fn info(&self, card: &ModelCard) -> ModelInfo {
        ModelInfo {
            model: self.model.clone(),
            version: card.version.clone(),
            precision: card.precision.clone(),
            device: card.device.clone(),
        }
    }
}
