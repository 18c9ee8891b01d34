use crate::{Clip, ClipScore, ModelCard, Outputs};

/// A clip and what its caller wants to know of it.
#[derive(Clone, Debug)]
pub struct ScorerInput {
    /// The frames.
    pub clip: Clip,
    /// The pictures wanted beside the scores.
    pub outputs: Outputs,
}

/// Why a batch could not be scored.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScorerError {
    /// This batch failed; a smaller one, or one without the offending clip, may not.
    #[error("forward pass failed: {reason}")]
    Batch {
        /// The library's words.
        reason: String,
    },
    /// The device has no memory for a batch of this size.
    #[error("out of device memory: {reason}")]
    OutOfMemory {
        /// The library's words.
        reason: String,
    },
    /// The device will fail every batch from here on; the process should end.
    #[error("device is lost: {reason}")]
    DeviceLost {
        /// The library's words.
        reason: String,
    },
    /// The model cannot be loaded.
    #[error("model cannot be loaded: {reason}")]
    Load {
        /// What is wrong with it.
        reason: String,
    },
}

/// The port behind which a model stands: one replica on one device, used by one thread.
///
/// The service knows models by this trait alone, so that it builds and is tested without
/// libtorch. Replicas travel boxed: one dynamic call a batch is nothing beside a forward pass.
pub trait Scorer {
    /// Scores a batch.
    ///
    /// The answer has one score an input in the same order, and a clip's score does not depend
    /// on the other clips of its batch.
    ///
    /// # Errors
    /// When the batch as a whole could not be computed; see [`ScorerError`] for what may be
    /// tried next.
    fn score(&mut self, batch: &[ScorerInput]) -> Result<Vec<ClipScore>, ScorerError>;

    /// Gives back what the device's memory holds beside replicas, such as blocks kept for later.
    /// Called after [`ScorerError::OutOfMemory`], before a smaller batch is tried.
    fn release_memory(&mut self) {}
}

/// Makes replicas of one loaded model, each on the thread that will use it: a tensor never
/// crosses a thread.
pub trait ScorerFactory: Send + Sync {
    /// The model that replicas are made of.
    fn card(&self) -> &ModelCard;

    /// A replica for the calling thread.
    ///
    /// # Errors
    /// When the device is missing or has no room.
    fn build(&self) -> Result<Box<dyn Scorer>, ScorerError>;
}
