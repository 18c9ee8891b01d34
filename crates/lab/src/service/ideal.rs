//! A server that costs nothing: what Poisson arrivals make of a model's own times.
//!
//! No server can answer a clip before the pass ahead of it ends. Where batches save little, as on a
//! CPU, waiting alone spreads the latencies, and a goal for their ratio has to be read beside what
//! this queue gives.

use crate::loads::BareBatch;

const CLIPS: usize = 100_000;
const SEED: u64 = 1;

/// p99 ÷ p50 of latency where one worker takes all that waits, up to the batch whose clips cost the
/// least, and arrivals come at `rate` a second.
pub(super) fn tail(batches: &[BareBatch], rate: f64) -> Option<f64> {
    let limit = batches.iter().max_by(|a, b| a.clips_per_second.total_cmp(&b.clips_per_second))?;
    let mut random = fastrand::Rng::with_seed(SEED);
    let mut now = 0.0;
    let arrivals: Vec<f64> = std::iter::repeat_with(|| {
        now -= (1.0 - random.f64()).ln() * 1e3 / rate;
        now
    })
    .take(CLIPS)
    .collect();
    let (mut free, mut next, mut latencies) = (0.0_f64, 0, Vec::with_capacity(CLIPS));
    while next < CLIPS {
        let start = free.max(arrivals[next]);
        let waiting = arrivals[next..].iter().take_while(|&&arrival| arrival <= start).count();
        let size = waiting.clamp(1, limit.batch_size as usize);
        free = start + pass_ms(batches, size)?;
        latencies.extend(arrivals[next..next + size].iter().map(|arrival| free - arrival));
        next += size;
    }
    latencies.sort_by(f64::total_cmp);
    Some(latencies[CLIPS * 99 / 100] / latencies[CLIPS / 2])
}

/// A size that was not measured takes its share between its neighbours.
fn pass_ms(batches: &[BareBatch], size: usize) -> Option<f64> {
    let at = |batch: &BareBatch| (batch.batch_size as usize, batch.median_ms);
    let below = batches.iter().map(at).filter(|&(known, _)| known <= size).max_by_key(|b| b.0)?;
    let above = batches.iter().map(at).filter(|&(known, _)| known >= size).min_by_key(|b| b.0)?;
    let share = (size - below.0) as f64 / (above.0 - below.0).max(1) as f64;
    Some(below.1 + share * (above.1 - below.1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn batch(batch_size: u32, median_ms: f64) -> BareBatch {
        let clips_per_second = 1e3 * f64::from(batch_size) / median_ms;
        BareBatch { batch_size, median_ms, clips_per_second }
    }

    #[test]
    fn an_idle_server_has_no_tail_and_a_busy_one_has() {
        let alone = [batch(1, 20.0)];
        assert!(tail(&alone, 0.1).unwrap() < 1.1);
        // The waiting times of M/D/1 at 70 %: a 99th percentile of five passes, a median of one.
        let busy = tail(&alone, 35.0).unwrap();
        assert!((2.5..4.5).contains(&busy), "{busy}");
        assert_eq!(tail(&[], 1.0), None);
    }

    #[test]
    fn batches_that_save_shorten_the_tail() {
        let flat = [batch(1, 20.0), batch(8, 160.0)];
        let saving = [batch(1, 20.0), batch(8, 30.0)];
        assert!(tail(&saving, 35.0).unwrap() < tail(&flat, 35.0).unwrap());
        assert_eq!(pass_ms(&saving, 1), Some(20.0));
        assert_eq!(pass_ms(&[batch(2, 10.0), batch(4, 30.0)], 3), Some(20.0));
    }
}
