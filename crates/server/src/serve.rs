use anyhow::Context;
use protoguard_service::{ModelSpec, Service};
use tokio::net::TcpListener;
use tracing::info;

use crate::config::Config;
use crate::{models, say, shutdown};

/// Loads, serves and drains.
///
/// # Errors
/// When the port is taken, a checkpoint cannot be read or computed, or a model is lost later.
pub(crate) fn serve(config: &Config) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the async runtime cannot be started")?;
    let served = runtime.block_on(bind_and_serve(config));
    // Nothing is left to wait for after a drain.
    runtime.shutdown_background();
    served
}

async fn bind_and_serve(config: &Config) -> anyhow::Result<()> {
    // Installed first, so that a signal during loading is not lost.
    let stop = shutdown::watch()?;
    // Bound before the models are read: a port in use is the cheapest mistake to report.
    let listener = TcpListener::bind(config.listen).await.with_context(|| {
        format!("listen is {}; a free port of this machine is expected", config.listen)
    })?;
    let address = listener.local_addr().context("the listener has no address")?;
    let specs: Vec<ModelSpec> = config
        .models
        .iter()
        .map(|source| models::load(source, &config.worker))
        .collect::<anyhow::Result<_>>()?;
    info!(
        workers = config.worker.devices.len(),
        threads_per_worker = config.worker.threads_per_worker,
        "loading"
    );
    let service = Service::start(specs, config.service.clone()).await?;
    let ready = service.ready();
    let announce = async move {
        if ready.await {
            say(&format!("listening on {address}\n"))?;
        }
        anyhow::Ok(())
    };
    let (announced, served) = tokio::join!(announce, service.serve(listener, stop.requested()));
    served?;
    announced.context("the address cannot be announced")
}
