//! Logs on standard error, and traces to a collector by OTLP where one is configured.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use opentelemetry::propagation::TextMapPropagator;
use opentelemetry::trace::TracerProvider;
use opentelemetry_otlp::{SpanExporter, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::SdkTracerProvider;
use protoguard_service::{TraceContext, Traces};
use tracing::Span;
use tracing::level_filters::LevelFilter;
use tracing_opentelemetry::OpenTelemetrySpanExt;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{EnvFilter, Layer, Registry, fmt};

use crate::config::{LogConfig, LogFormat};

/// What a collector knows the server by.
const SERVICE_NAME: &str = "protoguard-server";
/// How long the server waits at its end until the last traces are sent.
const LAST_TRACES: Duration = Duration::from_secs(2);

type Boxed = Box<dyn Layer<Registry> + Send + Sync>;

/// Logs to standard error, and traces where a collector is configured.
pub(crate) struct Telemetry {
    traces: Option<SdkTracerProvider>,
}

impl Telemetry {
    /// Starts both. Standard output carries only the addresses.
    ///
    /// # Errors
    /// When the collector's address is none.
    pub(crate) fn start(config: &LogConfig) -> anyhow::Result<Self> {
        let traces = config.otlp_endpoint.as_deref().map(provider).transpose()?;
        let tracer = traces.as_ref().map(|provider| provider.tracer(SERVICE_NAME));
        let spans = tracer.map(|tracer| {
            // Spans of requests and of their steps, independent of the level of the log.
            let ours = Targets::new().with_target("protoguard_service", LevelFilter::INFO);
            tracing_opentelemetry::layer().with_tracer(tracer).with_filter(ours)
        });
        tracing_subscriber::registry().with(lines(config)).with(spans).init();
        Ok(Self { traces })
    }

    /// Makes spans of requests parts of their callers' traces; none without a collector.
    pub(crate) fn callers(&self) -> Option<Arc<dyn Traces>> {
        self.traces.as_ref().map(|_| Arc::new(Callers::default()) as Arc<dyn Traces>)
    }

    /// Sends the traces that were not sent yet.
    pub(crate) fn end(self) {
        if let Some(traces) = self.traces {
            // A collector that is away at the end keeps nobody waiting and is no failure.
            let _ = traces.shutdown_with_timeout(LAST_TRACES);
        }
    }
}

/// The traces that callers name by W3C Trace Context. A caller that says that its trace is not
/// sampled is believed.
#[derive(Default)]
struct Callers(TraceContextPropagator);

impl Traces for Callers {
    fn join(&self, span: &Span, caller: &TraceContext) {
        let headers = HashMap::from([
            ("traceparent".to_owned(), caller.parent.clone()),
            ("tracestate".to_owned(), caller.state.clone()),
        ]);
        // This fails for a span that no collector gets, which needs no parent.
        let _ = span.set_parent(self.0.extract(&headers));
    }
}

fn lines(config: &LogConfig) -> Boxed {
    // The directives were checked with the configuration.
    let filter = EnvFilter::new(&config.level);
    let lines = fmt::layer().with_writer(std::io::stderr);
    match config.format {
        LogFormat::Human => lines.with_ansi(false).with_filter(filter).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).with_filter(filter).boxed(),
    }
}

fn provider(endpoint: &str) -> anyhow::Result<SdkTracerProvider> {
    let exporter = SpanExporter::builder()
        .with_tonic()
        .with_endpoint(endpoint)
        .build()
        .with_context(|| format!("otlp_endpoint is {endpoint}; traces cannot be sent there"))?;
    let resource = Resource::builder().with_service_name(SERVICE_NAME).build();
    Ok(SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build())
}
