//! E10: our server beside Triton's Python backend, with the same weights.

use anyhow::Result;
use serde::{Deserialize, Serialize};

use super::Bench;
use crate::peers;

/// Clips of a forward pass at most, and callers at a time, on either side.
const MAX_BATCH_SIZE: &str = "8";
const CLIENTS: &str = "16";

/// One side: many callers at a time, and one.
#[derive(Clone, Copy, Debug, Deserialize, Serialize)]
pub(super) struct Served {
    clips_per_second: f64,
    p50_ms: f64,
}

/// Both sides, one after the other.
#[derive(Clone, Copy, Debug, Serialize)]
pub(super) struct Round {
    ours: Served,
    triton: Served,
}

impl Round {
    /// Above 1 we serve more.
    pub(super) fn throughput(&self) -> f64 {
        self.ours.clips_per_second / self.triton.clips_per_second
    }

    /// Above 1 our caller waits less.
    pub(super) fn p50(&self) -> f64 {
        self.triton.p50_ms / self.ours.p50_ms
    }
}

impl Bench<'_> {
    /// Both servers in turn, each loaded by a client of its own kind. Triton computes with `peer`.
    pub(super) fn beside_triton(&self, peer: &str) -> Result<Vec<Round>> {
        let rounds = self.args.triton_rounds;
        let round = |round| {
            eprintln!("== serving beside Triton with {peer}, round {} of {rounds}", round + 1);
            Ok(Round { ours: self.served()?, triton: self.triton(peer)? })
        };
        (0..rounds).map(round).collect()
    }

    fn served(&self) -> Result<Served> {
        let served = self.lab.serve(self.checkpoint, &["--max-batch-size", MAX_BATCH_SIZE])?;
        let lone = self.lab.load(&served, &["--clients", "1", "--payload", "raw"])?;
        let many = self.lab.load(&served, &["--clients", CLIENTS, "--payload", "raw"])?;
        let p50_ms = lone.latency()?.p50;
        Ok(Served { clips_per_second: many.clips_per_second, p50_ms })
    }

    fn triton(&self, peer: &str) -> Result<Served> {
        let mut triton = peers::triton(self.workspace, self.python)?;
        triton.arg(self.checkpoint).arg(self.lab.at("case.safetensors"));
        triton.args(["--max-batch-size", MAX_BATCH_SIZE, "--clients", CLIENTS, "--peer", peer]);
        self.lab.measured(triton)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn above_one_is_better_in_both() {
        let ours = Served { clips_per_second: 12.0, p50_ms: 50.0 };
        let triton = Served { clips_per_second: 8.0, p50_ms: 100.0 };
        let round = Round { ours, triton };
        assert_eq!((round.throughput(), round.p50()), (1.5, 2.0));
    }
}
