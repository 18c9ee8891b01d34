use std::sync::Arc;

use anyhow::Context;
use protoguard_core::ScorerFactory;
use protoguard_model::{Checkpoint, ScorerOptions, TchScorerFactory};
use protoguard_service::ModelSpec;

use crate::config::{ModelSource, WorkerConfig};

/// Reads a checkpoint and makes a factory for each worker.
///
/// # Errors
/// When the file is missing or is no whole checkpoint.
pub(crate) fn load(source: &ModelSource, workers: &WorkerConfig) -> anyhow::Result<ModelSpec> {
    let checkpoint = Checkpoint::read(&source.path).with_context(|| {
        format!("model `{}` from {} cannot be loaded", source.name, source.path.display())
    })?;
    let checkpoint = Arc::new(checkpoint);
    let factory = |&device| -> Arc<dyn ScorerFactory> {
        let options = ScorerOptions {
            name: source.name.clone(),
            device,
            threads: Some(workers.threads_per_worker),
            libtorch: workers.libtorch.clone(),
            precision: workers.precision,
        };
        Arc::new(TchScorerFactory::new(Arc::clone(&checkpoint), options))
    };
    Ok(ModelSpec { replicas: workers.devices.iter().map(factory).collect() })
}
