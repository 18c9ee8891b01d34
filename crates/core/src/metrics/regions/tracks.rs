use std::cmp::Reverse;
use std::rc::Rc;

use crate::Components;

/// Ground-truth regions linked over frames.
///
/// A region goes on the track of the region of the frame before with which it shares the most
/// pixels, each track going on in one region: of two that part, the one with the larger share
/// keeps the track and the other begins one. A frame without the region ends its track.
#[derive(Default)]
pub(super) struct Tracks {
    lengths: Vec<usize>,
    before: Option<Before>,
}

struct Before {
    truth: Rc<Components>,
    track_of_region: Vec<usize>,
}

impl Tracks {
    /// No track goes from one video into the next.
    pub(super) fn cut(&mut self) {
        self.before = None;
    }

    /// The track of every region of the next frame.
    pub(super) fn follow(&mut self, truth: &Rc<Components>) -> Vec<usize> {
        let mut track_of_region: Vec<Option<usize>> = vec![None; truth.pixels().len()];
        if let Some(before) = &self.before {
            let mut overlaps = truth.overlaps(&before.truth);
            overlaps.sort_by_key(|overlap| Reverse(overlap.pixels));
            let mut taken = vec![false; before.track_of_region.len()];
            for overlap in overlaps {
                let track = &mut track_of_region[overlap.mine];
                if track.is_none() && !taken[overlap.other] {
                    *track = Some(before.track_of_region[overlap.other]);
                    taken[overlap.other] = true;
                }
            }
        }
        let mut numbered = Vec::with_capacity(track_of_region.len());
        for track in track_of_region {
            let track = track.unwrap_or_else(|| {
                self.lengths.push(0);
                self.lengths.len() - 1
            });
            self.lengths[track] += 1;
            numbered.push(track);
        }
        self.before = Some(Before { truth: Rc::clone(truth), track_of_region: numbered.clone() });
        numbered
    }

    /// Regions of every track.
    pub(super) fn lengths(&self) -> &[usize] {
        &self.lengths
    }

    pub(super) fn regions(&self) -> usize {
        self.lengths.iter().sum()
    }
}
