//! Every threshold in one pass over a frame: cells join the detected regions in falling order of
//! their values, and the regions are judged where the values pass a threshold. A frame costs one
//! sort of its cells, not one labelling a threshold.

use super::grid::Grid;
use super::tracks::Tracks;
use super::{MappedFrame, RegionPoint, RegionRule};
use crate::Components;

/// Values looked at for the lower thresholds, at most.
const SAMPLE: usize = 1 << 20;

/// Falling thresholds: `count` at even quantiles of the frames' largest values, a quarter as many
/// below them at even quantiles of all values.
pub(super) fn thresholds(videos: &[Vec<MappedFrame<'_>>], count: usize) -> Vec<f32> {
    let frames = || videos.iter().flatten().map(|frame| &frame.map.values);
    let largest = |values: &[f32]| values.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let maxima: Vec<f32> = frames().map(|values| largest(values)).collect();
    let all: usize = frames().map(|values| values.len()).sum();
    let values = frames().flat_map(|values| values.iter().copied());
    let sample: Vec<f32> = values.step_by(all.div_ceil(SAMPLE).max(1)).collect();
    let lowest = maxima.iter().copied().fold(f32::INFINITY, f32::min);
    let mut found = quantiles(maxima, count.max(2));
    found.extend(quantiles(sample, (count / 4).max(2)).into_iter().filter(|&v| v < lowest));
    found.sort_by(|a, b| b.total_cmp(a));
    found.dedup();
    found
}

/// `count` values of a list at even ranks, the least and the largest among them.
fn quantiles(mut values: Vec<f32>, count: usize) -> Vec<f32> {
    values.sort_by(f32::total_cmp);
    let Some(last) = values.len().checked_sub(1) else { return values };
    (0..count).map(|at| values[at * last / (count - 1)]).collect()
}

/// What was detected at every threshold, over all frames so far.
pub(super) struct Counts {
    frames: usize,
    false_positives: Vec<usize>,
    regions: Vec<usize>,
    /// By track, then by threshold.
    regions_of_track: Vec<Vec<u32>>,
}

impl Counts {
    pub(super) fn new(thresholds: usize) -> Self {
        Self {
            frames: 0,
            false_positives: vec![0; thresholds],
            regions: vec![0; thresholds],
            regions_of_track: Vec::new(),
        }
    }

    fn detected(&mut self, track: usize, threshold: usize) {
        let thresholds = self.regions.len();
        let tracks = self.regions_of_track.len().max(track + 1);
        self.regions_of_track.resize_with(tracks, || vec![0; thresholds]);
        self.regions_of_track[track][threshold] += 1;
        self.regions[threshold] += 1;
    }

    pub(super) fn points(
        &self,
        thresholds: &[f32],
        tracks: &Tracks,
        rule: &RegionRule,
    ) -> Vec<RegionPoint> {
        let lengths = tracks.lengths();
        let point = |(at, &threshold): (usize, &f32)| {
            let enough = self.regions_of_track.iter().zip(lengths).filter(|(found, length)| {
                f64::from(found[at]) / **length as f64 >= rule.track_share && found[at] > 0
            });
            RegionPoint {
                threshold,
                false_positives_a_frame: self.false_positives[at] as f64 / self.frames as f64,
                region_rate: self.regions[at] as f64 / tracks.regions() as f64,
                track_rate: enough.count() as f64 / lengths.len() as f64,
            }
        };
        thresholds.iter().enumerate().map(point).collect()
    }
}

/// The detected regions of one frame while the threshold falls: a forest over the cells, joined
/// by union and find.
pub(super) struct FrameRegions<'a> {
    grid: &'a Grid,
    truth: &'a Components,
    overlap: f64,
    /// The cell's parent; its own where it is a root, [`Self::OUT`] where it is not in yet.
    parent: Vec<usize>,
    /// Pixels of a root's region.
    pixels: Vec<u32>,
    /// Pixels that a root's region shares with each ground-truth region.
    shared: Vec<u32>,
    /// Every root there is, and cells that once were.
    roots: Vec<usize>,
}

impl<'a> FrameRegions<'a> {
    const OUT: usize = usize::MAX;

    pub(super) fn new(grid: &'a Grid, truth: &'a Components, overlap: f64) -> Self {
        let (cells, regions) = (grid.values.len(), truth.pixels().len());
        let mut shared = vec![0; cells * regions];
        for pixel in truth.marked() {
            shared[grid.cell(pixel.y, pixel.x) * regions + pixel.component] += 1;
        }
        Self {
            grid,
            truth,
            overlap,
            parent: vec![Self::OUT; cells],
            pixels: (0..cells).map(|cell| grid.pixels(cell)).collect(),
            shared,
            roots: Vec::new(),
        }
    }

    /// Adds what each of the falling `thresholds` detects to `counts`.
    pub(super) fn sweep(
        &mut self,
        thresholds: &[f32],
        track_of_region: &[usize],
        counts: &mut Counts,
    ) {
        let values = &self.grid.values;
        let mut order: Vec<usize> = (0..values.len()).collect();
        order.sort_unstable_by(|&a, &b| values[b].total_cmp(&values[a]));
        let mut next = order.into_iter().peekable();
        counts.frames += 1;
        for (at, &threshold) in thresholds.iter().enumerate() {
            while let Some(cell) = next.next_if(|&cell| values[cell] >= threshold) {
                self.enter(cell);
            }
            self.roots.retain(|&root| self.parent[root] == root);
            let mut found = vec![false; track_of_region.len()];
            for &root in &self.roots {
                counts.false_positives[at] += usize::from(!self.mark(root, &mut found));
            }
            for (&track, _) in track_of_region.iter().zip(found).filter(|&(_, found)| found) {
                counts.detected(track, at);
            }
        }
    }

    /// Marks the ground-truth regions that a detected one overlaps enough; whether there are any.
    fn mark(&self, root: usize, found: &mut [bool]) -> bool {
        let regions = self.truth.pixels().len();
        let shared = &self.shared[root * regions..][..regions];
        let mut any = false;
        for ((found, &shared), &pixels) in found.iter_mut().zip(shared).zip(self.truth.pixels()) {
            let union = self.pixels[root] + pixels - shared;
            let enough = shared > 0 && f64::from(shared) / f64::from(union) >= self.overlap;
            *found |= enough;
            any |= enough;
        }
        any
    }

    /// Takes a cell in and joins it with its neighbours that are.
    fn enter(&mut self, cell: usize) {
        self.parent[cell] = cell;
        self.roots.push(cell);
        let (rows, columns) = (self.grid.rows.pixels.len(), self.grid.columns.pixels.len());
        let (y, x) = (cell / columns, cell % columns);
        for y in y.saturating_sub(1)..=(y + 1).min(rows - 1) {
            for x in x.saturating_sub(1)..=(x + 1).min(columns - 1) {
                let neighbour = y * columns + x;
                if self.parent[neighbour] != Self::OUT {
                    self.join(cell, neighbour);
                }
            }
        }
    }

    fn join(&mut self, a: usize, b: usize) {
        let (a, b) = (self.root(a), self.root(b));
        if a == b {
            return;
        }
        let (from, to) = if self.pixels[a] < self.pixels[b] { (a, b) } else { (b, a) };
        self.parent[from] = to;
        self.pixels[to] += self.pixels[from];
        let regions = self.truth.pixels().len();
        for region in 0..regions {
            self.shared[to * regions + region] += self.shared[from * regions + region];
        }
    }

    fn root(&mut self, mut cell: usize) -> usize {
        while self.parent[cell] != cell {
            self.parent[cell] = self.parent[self.parent[cell]];
            cell = self.parent[cell];
        }
        cell
    }
}
