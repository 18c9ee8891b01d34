//! The threads that compute, one a replica.

use std::sync::mpsc;
use std::sync::{Arc, Barrier};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::ensure;
use protoguard_core::{Clip, ClipShape, Frame, Scorer, ScorerFactory, ScorerInput};

use super::{Cell, Passes};

/// What one worker needed for one forward pass of one cell.
pub(super) struct Lap {
    pub(super) cell: usize,
    /// None for a warm-up.
    pub(super) repetition: Option<usize>,
    pub(super) took: Duration,
}

/// One thread a replica, as in serving.
pub(super) fn run_workers(
    replicas: &[Arc<dyn ScorerFactory>],
    cells: &[Cell],
    passes: Passes,
) -> anyhow::Result<Vec<Lap>> {
    let start = Barrier::new(replicas.len());
    let (sender, laps) = mpsc::channel();
    thread::scope(|scope| {
        let workers: Vec<_> = replicas
            .iter()
            .map(|factory| {
                let worker = Worker { start: &start, laps: sender.clone() };
                scope.spawn(move || worker.run(factory.as_ref(), cells, passes))
            })
            .collect();
        drop(sender);
        for worker in workers {
            worker.join().map_err(|_| anyhow::anyhow!("a worker panicked"))??;
        }
        Ok(laps.iter().collect())
    })
}

struct Worker<'a> {
    start: &'a Barrier,
    laps: mpsc::Sender<Lap>,
}

impl Worker<'_> {
    /// Every worker comes to the barrier as often as the others, whatever fails.
    fn run(
        &self,
        factory: &dyn ScorerFactory,
        cells: &[Cell],
        passes: Passes,
    ) -> anyhow::Result<()> {
        let mut scorer = factory.build().map_err(anyhow::Error::from);
        let clip = textured(factory.card().shape)?;
        let warm_ups = (0..passes.warm_up).map(|_| None);
        for repetition in warm_ups.chain((0..usize::from(passes.repetitions)).map(Some)) {
            for (cell, &Cell { batch_size, outputs }) in cells.iter().enumerate() {
                let batch = vec![ScorerInput { clip: clip.clone(), outputs }; batch_size];
                self.start.wait();
                let took = scorer.as_mut().ok().map(|scorer| time(scorer.as_mut(), &batch));
                match took {
                    // The receiver outlives the scope.
                    Some(Ok(took)) => drop(self.laps.send(Lap { cell, repetition, took })),
                    Some(Err(error)) => scorer = Err(error),
                    None => {}
                }
            }
        }
        scorer.map(drop)
    }
}

fn time(scorer: &mut dyn Scorer, batch: &[ScorerInput]) -> anyhow::Result<Duration> {
    let started = Instant::now();
    let scores = scorer.score(batch)?;
    let took = started.elapsed();
    ensure!(scores.len() == batch.len(), "{} scores for {} clips", scores.len(), batch.len());
    Ok(took)
}

/// A clip of moving texture. A forward pass takes the same time whatever the frames show.
pub(super) fn textured(shape: ClipShape) -> anyhow::Result<Clip> {
    let side = shape.side();
    let frame = |index: usize| {
        let value = |i: usize| ((i / 3 % side + index) * 11 + i / 3 / side * 7 + i % 3 * 60) as u8;
        Frame::new(side, side, (0..shape.frame_bytes()).map(value).collect::<Vec<u8>>())
    };
    let frames: Result<Vec<Frame>, _> = (0..shape.frames()).map(frame).collect();
    Ok(Clip::new(shape, frames?)?)
}
