//! One path by which a model takes another's place while the service answers.
//!
//! A call, a signal and a changed file all end here: the candidate is read and compared with the
//! one it would replace, its replicas are built and warmed up on threads of their own, and only
//! then does it take the place. Whatever fails before leaves the old one as it was. Reloads take
//! turns, so at most one candidate needs memory beside what is served.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use protoguard_proto::ModelRef;
use tokio::sync::{Mutex, mpsc};
use tokio::time::timeout;
use tracing::{error, info};

use crate::error::ServiceError;
use crate::file_stamp::FileStamp;
use crate::health::Condition;
use crate::registry::compatible::missing;
use crate::registry::error::ModelError;
use crate::registry::model::{Model, Surroundings};
use crate::registry::models::Registry;
use crate::registry::source::{FoundModel, ModelSource, Slot, SourceError};

/// A candidate that is not warm by then is given up.
const BUILD_PATIENCE: Duration = Duration::from_secs(600);

/// What a failure is filed under where it is that of no model.
const SOURCE: &str = "source";

/// Reloads models; clones share their turns.
#[derive(Clone)]
pub struct Reloader {
    shared: Arc<Shared>,
}

struct Shared {
    source: Arc<dyn ModelSource>,
    registry: Arc<Registry>,
    around: Surroundings,
    /// Told when a model is lost.
    lost: mpsc::UnboundedSender<ModelError>,
    /// What was tried last in every place, whether or not it succeeded.
    tried: Mutex<BTreeMap<Slot, FileStamp>>,
}

/// A place whose model was loaded again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reloaded {
    /// The place.
    pub slot: Slot,
    /// Content hash of the model that is served now.
    pub version: String,
    /// Content hash of the one before; nothing where the place was empty.
    pub previous_version: Option<String>,
}

/// Why a model was not loaded again.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum ReloadError {
    /// The source or the checkpoint cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// It would not answer what the present one answers.
    #[error("it cannot take the place of version {old}: {}", missing.join(", "))]
    Incompatible {
        /// Content hash of the present model.
        old: String,
        /// What requests would miss.
        missing: Vec<String>,
    },
    /// Its replicas cannot be built, do not reproduce the golden clip, or cannot be warmed up.
    #[error(transparent)]
    Build(#[from] ModelError),
    /// Its replicas were not warm in time.
    #[error("it was not warm after {} s", BUILD_PATIENCE.as_secs())]
    Slow,
    /// Its file is gone, but the default or an alias stands for it.
    #[error("it is gone, but default_model or an alias names it; it is served on")]
    Named,
    /// Reading it ended in a panic.
    #[error("reading it panicked")]
    Panicked,
}

/// What one round of reloads came to.
#[derive(Debug, Default)]
pub struct Round {
    /// The places that have a fresh model.
    pub reloaded: Vec<Reloaded>,
    /// What failed, by place or by `source`.
    pub failed: BTreeMap<String, ReloadError>,
}

impl Reloader {
    pub(crate) fn new(
        source: Arc<dyn ModelSource>,
        registry: Arc<Registry>,
        around: Surroundings,
        lost: mpsc::UnboundedSender<ModelError>,
    ) -> Self {
        let tried = Mutex::default();
        Self { shared: Arc::new(Shared { source, registry, around, lost, tried }) }
    }

    /// Remembers what was loaded at the start.
    pub(crate) async fn started_with(&self, found: &[FoundModel]) {
        let stamps = found.iter().map(|found| (found.slot.clone(), found.stamp));
        self.shared.tried.lock().await.extend(stamps);
    }

    /// Tells the service if the model is lost.
    pub(crate) fn watch_loss(&self, model: &Model) {
        self.shared.watch_loss(model);
    }

    /// Loads what has changed since it was last tried, and gives up what is gone.
    pub async fn reload_changed(&self) -> Round {
        self.in_background(|shared| async move { shared.round(None, true).await }).await
    }

    /// Loads again, changed or not, the model that is asked for, or all.
    pub(crate) async fn reload(
        &self,
        asked: Option<&ModelRef>,
    ) -> Result<Vec<Reloaded>, ServiceError> {
        let only = asked.map(|asked| self.shared.registry.find(Some(asked))).transpose()?;
        let only = only.map(|model| model.slot().clone());
        let round = self.in_background(|shared| async move { shared.round(only, false).await });
        let Round { reloaded, failed } = round.await;
        if failed.is_empty() {
            return Ok(reloaded);
        }
        let failed = failed.into_iter().map(|(slot, error)| format!("{slot}: {error}"));
        Err(ServiceError::NotReloaded { failed: failed.collect() })
    }

    /// Looks every `interval` for what has changed. A change is acted on once it is seen twice: a
    /// file that is still being written is left alone.
    pub(crate) async fn watch(self, interval: Duration) {
        let mut before = None;
        loop {
            tokio::time::sleep(interval).await;
            let seen = self.shared.scan().await;
            if before.as_ref() == Some(&seen) && self.shared.differs(&seen).await {
                self.reload_changed().await;
            }
            before = Some(seen);
        }
    }

    /// To its end even where the caller goes away: half a reload is none.
    async fn in_background<F>(&self, round: impl FnOnce(Arc<Shared>) -> F) -> Round
    where
        F: Future<Output = Round> + Send + 'static,
    {
        match tokio::spawn(round(Arc::clone(&self.shared))).await {
            Ok(round) => round,
            Err(_) => Round {
                reloaded: Vec::new(),
                failed: [("reload".to_owned(), ReloadError::Panicked)].into(),
            },
        }
    }
}

impl Shared {
    async fn scan(&self) -> Result<Vec<FoundModel>, ReloadError> {
        let source = Arc::clone(&self.source);
        match tokio::task::spawn_blocking(move || source.scan()).await {
            Ok(found) => Ok(found?),
            Err(_) => Err(ReloadError::Panicked),
        }
    }

    /// Whether anything is to be tried that was not. A source that cannot be read is tried again
    /// only when it can.
    async fn differs(&self, seen: &Result<Vec<FoundModel>, ReloadError>) -> bool {
        let tried = self.tried.lock().await;
        seen.as_ref().is_ok_and(|found| {
            found.len() != tried.len()
                || found.iter().any(|found| tried.get(&found.slot) != Some(&found.stamp))
        })
    }

    async fn round(&self, only: Option<Slot>, changed_only: bool) -> Round {
        let mut tried = self.tried.lock().await;
        let mut round = Round::default();
        let found = match self.scan().await {
            Err(error) => {
                self.fail(&mut round, SOURCE, error).await;
                return round;
            }
            Ok(found) => found,
        };
        self.forget_failure(SOURCE).await;
        let asked = |slot: &Slot| only.as_ref().is_none_or(|only| only == slot);
        for FoundModel { slot, stamp } in found.iter().filter(|found| asked(&found.slot)) {
            let is_new = tried.insert(slot.clone(), *stamp) != Some(*stamp);
            if is_new || !changed_only {
                self.try_one(&mut round, slot).await;
            }
        }
        let served = self.registry.all();
        for slot in served.iter().map(|model| model.slot()).filter(|slot| asked(slot)) {
            if !found.iter().any(|found| found.slot == *slot) {
                let is_news = tried.remove(slot).is_some();
                self.give_up(&mut round, slot, is_news || !changed_only).await;
            }
        }
        round
    }

    async fn try_one(&self, round: &mut Round, slot: &Slot) {
        match self.replace(slot).await {
            Ok(reloaded) => {
                let version = &reloaded.version;
                let previous = &reloaded.previous_version;
                info!(model = %slot, version, previous, "reloaded");
                self.around.metrics.reload(&slot.name, true);
                self.forget_failure(&slot.to_string()).await;
                round.reloaded.push(reloaded);
            }
            Err(error) => self.fail(round, &slot.to_string(), error).await,
        }
    }

    async fn fail(&self, round: &mut Round, what: &str, error: ReloadError) {
        error!(model = what, error = %error, "reload failed; what was served is served on");
        let name = what.split_once('@').map_or(what, |(name, _)| name);
        self.around.metrics.reload(name, false);
        let key = what.to_owned();
        let reason = error.to_string();
        let tell = |condition: &mut Condition| drop(condition.failed_reloads.insert(key, reason));
        self.around.health.change(tell).await;
        round.failed.insert(what.to_owned(), error);
    }

    async fn forget_failure(&self, what: &str) {
        let forget = |condition: &mut Condition| drop(condition.failed_reloads.remove(what));
        self.around.health.change(forget).await;
    }

    async fn give_up(&self, round: &mut Round, slot: &Slot, is_news: bool) {
        if !self.registry.is_named(slot) {
            info!(model = %slot, "its file is gone");
            self.around.metrics.reload(&slot.name, true);
            self.registry.remove(slot, self.around.config.drain.timeout);
        } else if is_news {
            self.fail(round, &slot.to_string(), ReloadError::Named).await;
        }
    }

    /// Tells the service if the model is lost; one that is closed is lost no more.
    fn watch_loss(&self, model: &Model) {
        let lost = model.lost();
        let told = self.lost.clone();
        tokio::spawn(async move {
            if let Some(error) = lost.await {
                // The service has ended already where nobody listens.
                let _ = told.send(error);
            }
        });
    }

    async fn replace(&self, slot: &Slot) -> Result<Reloaded, ReloadError> {
        let source = Arc::clone(&self.source);
        let place = slot.clone();
        let spec = match tokio::task::spawn_blocking(move || source.load(&place)).await {
            Ok(spec) => spec?,
            Err(_) => return Err(ReloadError::Panicked),
        };
        let old = self.registry.at(slot);
        if let (Some(old), Some(fresh)) = (&old, spec.replicas.first()) {
            let rate = self.around.config.false_alarm_rate;
            let missing = missing(old.card(), fresh.card(), rate);
            if !missing.is_empty() {
                let old = old.card().version.clone();
                return Err(ReloadError::Incompatible { old, missing });
            }
        }
        let fresh = Model::start(slot.clone(), spec, &self.around)?;
        timeout(BUILD_PATIENCE, fresh.ready()).await.map_err(|_| ReloadError::Slow)??;
        let version = fresh.card().version.clone();
        self.watch_loss(&fresh);
        self.registry.put(fresh, self.around.config.drain.timeout);
        let previous_version = old.map(|old| old.card().version.clone());
        Ok(Reloaded { slot: slot.clone(), version, previous_version })
    }
}
