//! What operators chart, in Prometheus's words.
//!
//! [`Metrics`] is a value that is passed in: there is no global registry, so two services of one
//! process, or of one test, count apart. Gauges are counted up and down rather than set, so that a
//! model and the one that replaces it add up while both live. Labels come from the configuration
//! and never from requests, except that a scene is one that a calibration names.

mod model;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus_client::encoding::{EncodeLabelSet, prometheus_text};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets, linear_buckets};
use prometheus_client::registry::{Metric, Registry};
use tonic::Code;

pub(crate) use model::{Gauged, ModelMetrics, Stage};

/// The counters, gauges and histograms of one service; clones count together.
#[derive(Clone)]
pub struct Metrics {
    registry: Arc<Registry>,
    families: Families,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct OfModel {
    model: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelOutcome {
    model: String,
    outcome: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelScene {
    model: String,
    scene: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelState {
    model: String,
    state: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MethodCode {
    method: String,
    code: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModelInfo {
    model: String,
    version: String,
    precision: String,
    device: String,
}

#[derive(Clone)]
struct Families {
    request_duration: Family<ModelOutcome, Histogram>,
    queue_duration: Family<ModelOutcome, Histogram>,
    decode_duration: Family<ModelOutcome, Histogram>,
    compute_duration: Family<ModelOutcome, Histogram>,
    batch_size: Family<OfModel, Histogram>,
    queue_clips: Family<OfModel, Gauge>,
    queue_bytes: Family<OfModel, Gauge>,
    in_flight_clips: Family<OfModel, Gauge>,
    workers_alive: Family<OfModel, Gauge>,
    model_info: Family<ModelInfo, Gauge>,
    requests: Family<MethodCode, Counter>,
    clips: Family<OfModel, Counter>,
    clips_expired: Family<OfModel, Counter>,
    clips_cancelled: Family<OfModel, Counter>,
    reloads: Family<ModelOutcome, Counter>,
    oom_splits: Family<OfModel, Counter>,
    regularity: Family<ModelScene, Histogram>,
    surprise: Family<ModelScene, Histogram>,
    streams: Family<OfModel, Gauge>,
    stream_frames: Family<ModelOutcome, Counter>,
    stream_answer_duration: Family<ModelOutcome, Histogram>,
    alarms: Family<ModelScene, Counter>,
    camera_states: Family<ModelState, Counter>,
}

/// From half a millisecond to about half a minute, each bucket twice the one before.
fn seconds() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 17))
}

fn clips() -> Histogram {
    Histogram::new(exponential_buckets(1.0, 2.0, 9))
}

/// Twentieths of [0, 1].
fn regularities() -> Histogram {
    Histogram::new(linear_buckets(0.05, 0.05, 20).map(|bound| (bound * 100.0).round() / 100.0))
}

/// Half of the normal clips lie below 0.3, one in ten above 1, one in a hundred above 2.
fn surprises() -> Histogram {
    Histogram::new([0.1, 0.2, 0.3, 0.5, 0.7, 1.0, 1.3, 1.6, 2.0, 2.5, 3.0, 4.0, 5.0, 7.0, 10.0])
}

fn histograms<S: Clone + std::hash::Hash + Eq>(of: fn() -> Histogram) -> Family<S, Histogram> {
    Family::new_with_constructor(of)
}

impl Default for Families {
    fn default() -> Self {
        Self {
            request_duration: histograms(seconds),
            queue_duration: histograms(seconds),
            decode_duration: histograms(seconds),
            compute_duration: histograms(seconds),
            batch_size: histograms(clips),
            queue_clips: Family::default(),
            queue_bytes: Family::default(),
            in_flight_clips: Family::default(),
            workers_alive: Family::default(),
            model_info: Family::default(),
            requests: Family::default(),
            clips: Family::default(),
            clips_expired: Family::default(),
            clips_cancelled: Family::default(),
            reloads: Family::default(),
            oom_splits: Family::default(),
            regularity: histograms(regularities),
            surprise: histograms(surprises),
            streams: Family::default(),
            stream_frames: Family::default(),
            stream_answer_duration: histograms(seconds),
            alarms: Family::default(),
            camera_states: Family::default(),
        }
    }
}

impl Families {
    /// The encoder appends `_total` to counters.
    fn register(&self) -> Registry {
        let mut page = Page(Registry::with_prefix("protoguard"));
        page.add("request_duration_seconds", "Whole requests", &self.request_duration);
        page.add("queue_duration_seconds", "Clips in the queue", &self.queue_duration);
        page.add(
            "decode_duration_seconds",
            "Decoding and resizing of clips",
            &self.decode_duration,
        );
        page.add("compute_duration_seconds", "Forward passes, once a clip", &self.compute_duration);
        page.add("batch_size", "Clips of a forward pass", &self.batch_size);
        page.add("queue_clips", "Clips that wait for a worker", &self.queue_clips);
        page.add("queue_bytes", "Bytes of the clips that wait for a worker", &self.queue_bytes);
        page.add("in_flight_clips", "Clips admitted and not answered", &self.in_flight_clips);
        page.add("workers_alive", "Workers with a warm replica", &self.workers_alive);
        page.add("model_info", "1 for every model that is served", &self.model_info);
        page.add("requests", "Requests by method and gRPC code", &self.requests);
        page.add("clips", "Clips that a forward pass has scored", &self.clips);
        page.add("clips_expired", "Clips too late before compute", &self.clips_expired);
        page.add("clips_cancelled", "Clips given up before compute", &self.clips_cancelled);
        page.add("reloads", "Attempts to load a checkpoint while serving", &self.reloads);
        page.add("oom_splits", "Batches halved for want of device memory", &self.oom_splits);
        page.add("regularity", "Regularity of scored clips, 1 is normal", &self.regularity);
        page.add("surprise", "Surprise of scored clips, 2 is one normal in 100", &self.surprise);
        page.add("streams", "Streams that are open", &self.streams);
        page.add("stream_frames", "Frames of streams by what became of them", &self.stream_frames);
        page.add(
            "stream_answer_duration_seconds",
            "From a frame of a stream to its answer",
            &self.stream_answer_duration,
        );
        page.add("alarms", "Alarms that were raised in streams", &self.alarms);
        page.add("camera_states", "Times that a camera's picture went wrong", &self.camera_states);
        page.0
    }
}

struct Page(Registry);

impl Page {
    fn add(&mut self, name: &str, help: &str, metric: &(impl Metric + Clone)) {
        self.0.register(name, help, metric.clone());
    }
}

impl Default for Metrics {
    fn default() -> Self {
        let families = Families::default();
        Self { registry: Arc::new(families.register()), families }
    }
}

impl fmt::Debug for Metrics {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Metrics")
    }
}

impl Metrics {
    /// The page that Prometheus reads, in its text format 0.0.4.
    pub fn page(&self) -> String {
        let mut text = String::new();
        prometheus_text::encode(&mut text, &self.registry)
            .expect("writing to a string cannot fail");
        text
    }

    /// A request has ended.
    pub(crate) fn request(&self, request: &RequestEnd<'_>) {
        let labels = MethodCode { method: request.method.to_owned(), code: name_of(request.code) };
        self.families.requests.get_or_create(&labels).inc();
        let Some(took) = request.took else { return };
        let labels =
            ModelOutcome { model: request.model.to_owned(), outcome: outcome_of(request.code) };
        self.families.request_duration.get_or_create(&labels).observe(took.as_secs_f64());
    }

    pub(crate) fn reload(&self, model: &str, succeeded: bool) {
        let outcome = if succeeded { "ok" } else { "failed" };
        let labels = ModelOutcome { model: model.to_owned(), outcome };
        self.families.reloads.get_or_create(&labels).inc();
    }
}

/// How one request ended.
#[derive(Debug)]
pub(crate) struct RequestEnd<'a> {
    pub(crate) method: &'a str,
    /// Empty where the request was refused before its model was known.
    pub(crate) model: &'a str,
    pub(crate) code: Code,
    /// Absent for a stream, which lasts as long as its caller likes.
    pub(crate) took: Option<Duration>,
}

/// The code as gRPC writes it.
fn name_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

/// The outcome that a code stands for: its name in lower case, as label values go.
pub(crate) fn outcome_of(code: Code) -> &'static str {
    match code {
        Code::Ok => "ok",
        Code::Cancelled => "cancelled",
        Code::Unknown => "unknown",
        Code::InvalidArgument => "invalid_argument",
        Code::DeadlineExceeded => "deadline_exceeded",
        Code::NotFound => "not_found",
        Code::AlreadyExists => "already_exists",
        Code::PermissionDenied => "permission_denied",
        Code::ResourceExhausted => "resource_exhausted",
        Code::FailedPrecondition => "failed_precondition",
        Code::Aborted => "aborted",
        Code::OutOfRange => "out_of_range",
        Code::Unimplemented => "unimplemented",
        Code::Internal => "internal",
        Code::Unavailable => "unavailable",
        Code::DataLoss => "data_loss",
        Code::Unauthenticated => "unauthenticated",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outcomes_are_codes_in_lower_case() {
        for number in 0..17 {
            let code = Code::from(number);
            assert_eq!(outcome_of(code), name_of(code).to_lowercase());
        }
    }

    #[test]
    fn services_count_apart_and_clones_together() {
        let one = Metrics::default();
        let other = Metrics::default();
        one.clone().reload("hall", true);
        one.reload("hall", false);
        let page = one.page();
        assert!(
            page.contains(r#"protoguard_reloads_total{model="hall",outcome="ok"} 1"#),
            "{page}"
        );
        assert!(page.contains(r#"outcome="failed"} 1"#), "{page}");
        assert!(!other.page().contains("hall"));
    }

    #[test]
    fn a_regularity_falls_into_its_twentieth() {
        let metrics = Metrics::default();
        ModelMetrics::new(&metrics, "hall").regularity("door", 0.52);
        let page = metrics.page();
        let bucket = |bound: &str, count: u64| {
            let line = format!(
                "protoguard_regularity_bucket{{model=\"hall\",scene=\"door\",le=\"{bound}\"}} {count}"
            );
            assert!(page.contains(&line), "{line} is not in {page}");
        };
        bucket("0.5", 0);
        bucket("0.55", 1);
        bucket("1", 1);
    }

    #[test]
    fn an_alarm_and_what_lies_far_beyond_are_told_apart() {
        let metrics = Metrics::default();
        let of_hall = ModelMetrics::new(&metrics, "hall");
        for surprise in [0.25, 1.9, 2.1, 40.0] {
            of_hall.surprise("door", surprise);
        }
        let page = metrics.page();
        for (bound, count) in [("0.2", 0), ("0.3", 1), ("2", 2), ("2.5", 3), ("10", 3), ("+Inf", 4)]
        {
            let labels = format!("{{model=\"hall\",scene=\"door\",le=\"{bound}\"}}");
            let line = format!("protoguard_surprise_bucket{labels} {count}");
            assert!(page.contains(&line), "{line} is not in {page}");
        }
    }
}
