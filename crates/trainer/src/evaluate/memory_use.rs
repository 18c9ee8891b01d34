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

/// Sums stay on the device until they are read: a batch costs no wait for them.
#[derive(Debug, Default)]
struct Seen {
    sums: Option<Sums>,
}

#[derive(Debug)]
struct Sums {
    /// Queries by nearest item, `[N]`.
    counts: Tensor,
    /// Of the clips' `D_q`, a scalar.
    d_q: Tensor,
    clips: i64,
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
        let (Some(memory), Some(sums)) = (self.scorer.graph().memory(), &self.seen.sums) else {
            return Ok(None);
        };
        let counts = Vec::<f64>::try_from(&sums.counts)?;
        let d_q = f64::try_from(&sums.d_q)? / sums.clips as f64;
        Ok(Some(MemoryUse::new(&counts, scores::item_cosine_sum(memory.items())?, d_q)))
    }
}

impl Seen {
    fn add(&mut self, pass: &MemoryPass) -> Result<()> {
        let d_q = scores::query_cosine(pass)?;
        let clips = d_q.size()[0];
        let d_q = d_q.f_sum(Kind::Double)?;
        let counts = pass.counts.f_sum_dim_intlist([0i64].as_slice(), false, Kind::Double)?;
        self.sums = Some(match self.sums.take() {
            None => Sums { counts, d_q, clips },
            Some(sums) => Sums {
                counts: sums.counts.f_add(&counts)?,
                d_q: sums.d_q.f_add(&d_q)?,
                clips: sums.clips + clips,
            },
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
