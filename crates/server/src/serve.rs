//! Serving from start to end: ports, models, the announcement on standard output, and the drain.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::Context;
use protoguard_service::{Metrics, Reloader, Service, Traces};
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tracing::{info, warn};

use crate::config::Config;
use crate::models::Checkpoints;
use crate::telemetry::Telemetry;
use crate::{descriptors, say, shutdown};

/// Loads, serves and drains.
///
/// # Errors
/// When a port is taken, a checkpoint cannot be read or computed, or a model is lost later.
pub(crate) fn serve(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot be started")?;
    let telemetry = {
        // Traces are sent by tasks of the runtime.
        let _inside = runtime.enter();
        Telemetry::start(&config.log)?
    };
    descriptors::raise_limit();
    let served = runtime.block_on(bind_and_serve(config, telemetry.callers()));
    telemetry.end();
    // After a drain no task of the runtime has work that anyone waits for.
    runtime.shutdown_background();
    served
}

async fn bind_and_serve(config: &Config, traces: Option<Arc<dyn Traces>>) -> anyhow::Result<()> {
    // Installed first, so that a signal during loading is not lost.
    let stop = shutdown::watch()?;
    let hangup = signal(SignalKind::hangup()).context("signal handler cannot be installed")?;
    // Bound before the models are read: a port in use is the cheapest mistake to report.
    let listener = bind("listen", config.listen).await?;
    let mut lines = format!("listening on {}\n", address_of(&listener)?);
    let mut prepared = Service::prepare(config.service.clone(), Metrics::default()).await;
    if let Some(traces) = traces {
        prepared = prepared.with_traces(traces);
    }
    if let Some(address) = config.metrics_listen {
        let listener = bind("metrics_listen", address).await?;
        lines += &format!("metrics on {}\n", address_of(&listener)?);
        tokio::spawn(prepared.probes().serve(listener));
    }
    info!(
        workers = config.worker.devices.len(),
        threads_per_worker = config.worker.threads_per_worker,
        "loading"
    );
    let service = Service::open(Arc::new(Checkpoints::new(config)), prepared).await?;
    tokio::spawn(reload_at(hangup, service.reloader()));
    let ready = service.ready();
    let announce = async move {
        if ready.await {
            say(&lines)?;
        }
        anyhow::Ok(())
    };
    let (announced, served) = tokio::join!(announce, service.serve(listener, stop.requested()));
    served?;
    announced.context("the address cannot be announced")
}

async fn bind(key: &str, address: SocketAddr) -> anyhow::Result<TcpListener> {
    TcpListener::bind(address)
        .await
        .with_context(|| format!("{key} is {address}; a free port of this machine is expected"))
}

fn address_of(listener: &TcpListener) -> anyhow::Result<SocketAddr> {
    listener.local_addr().context("the listener has no address")
}

/// Looks for changed models at every SIGHUP, without waiting for the next regular look.
async fn reload_at(mut hangup: Signal, reloader: Reloader) {
    while hangup.recv().await.is_some() {
        info!("signal: looking at the models");
        let round = reloader.reload_changed().await;
        if round.failed.is_empty() {
            info!(reloaded = round.reloaded.len(), "models are as their files are");
        } else {
            warn!(reloaded = round.reloaded.len(), failed = round.failed.len(), "not all reloaded");
        }
    }
}
