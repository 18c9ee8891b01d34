//! SIGTERM and Ctrl-C: the first drains, the second ends the process at once.

use anyhow::Context;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

/// What a shell reports of a process that a signal ended.
const EXIT_INTERRUPTED: i32 = 130;
const EXIT_TERMINATED: i32 = 143;

/// Tells when the process was asked to stop.
pub(crate) struct Shutdown(CancellationToken);

impl Shutdown {
    /// Resolves at the first signal.
    pub(crate) async fn requested(self) {
        self.0.cancelled().await;
    }
}

/// Listens for signals from here on.
///
/// # Errors
/// When the system refuses the handlers.
pub(crate) fn watch() -> anyhow::Result<Shutdown> {
    let install = |kind| signal(kind).context("signal handler cannot be installed");
    let (interrupt, terminate) =
        (install(SignalKind::interrupt())?, install(SignalKind::terminate())?);
    let token = CancellationToken::new();
    tokio::spawn(listen(interrupt, terminate, token.clone()));
    Ok(Shutdown(token))
}

async fn listen(mut interrupt: Signal, mut terminate: Signal, stop: CancellationToken) {
    loop {
        let code = tokio::select! {
            _ = interrupt.recv() => EXIT_INTERRUPTED,
            _ = terminate.recv() => EXIT_TERMINATED,
        };
        if stop.is_cancelled() {
            warn!("second signal: ending at once");
            std::process::exit(code);
        }
        info!("signal: draining; a second one ends at once");
        stop.cancel();
    }
}
