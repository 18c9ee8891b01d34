use protoguard_core::{ClipScore, Scorer, ScorerError, ScorerInput};
use protoguard_model::{MemoryPass, Result, TchScorer, scores};
use tch::{Kind, Tensor};

use super::report::MemoryUse;

/// A scorer that also keeps count of how the memory is read, in the same forward pass.
#[derive(Debug)]
pub struct MemoryObserver {
    scorer: TchScorer,
    seen: Seen,
}

#[derive(Debug, Default)]
struct Seen {
    /// Queries by nearest item, `[N]`.
    counts: Option<Tensor>,
    d_q_sum: f64,
    clips: usize,
}

impl MemoryObserver {
    /// Watches the memory of `scorer`.
    pub fn new(scorer: TchScorer) -> Self {
        Self { scorer, seen: Seen::default() }
    }

    /// How the memory was read so far, or nothing for a model without one.
    ///
    /// # Errors
    /// When libtorch refuses.
    pub fn read(&self) -> Result<Option<MemoryUse>> {
        let (Some(memory), Some(counts)) = (self.scorer.graph().memory(), &self.seen.counts) else {
            return Ok(None);
        };
        let counts = Vec::<f64>::try_from(counts)?;
        Ok(Some(MemoryUse {
            d_m: scores::item_cosine_sum(memory.items())?,
            d_q: self.seen.d_q_sum / self.seen.clips as f64,
            items_in_use: counts.iter().filter(|&&count| count > 0.0).count(),
            items: counts.len(),
        }))
    }
}

impl Seen {
    fn add(&mut self, pass: &MemoryPass) -> Result<()> {
        let d_q = Vec::<f64>::try_from(&scores::query_cosine(pass)?)?;
        self.d_q_sum += d_q.iter().sum::<f64>();
        self.clips += d_q.len();
        let counts = pass.counts.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double)?;
        self.counts = Some(match self.counts.take() {
            Some(before) => before.f_add(&counts)?,
            None => counts,
        });
        Ok(())
    }
}

impl Scorer for MemoryObserver {
    fn score(&mut self, batch: &[ScorerInput]) -> std::result::Result<Vec<ClipScore>, ScorerError> {
        let seen = &mut self.seen;
        self.scorer.score_observed(batch, &mut |pass| seen.add(pass))
    }
}
