use serde::{Deserialize, Serialize};

use crate::Plane;
use crate::maps::ClipMaps;

/// The box of a frame in which its prediction fails most, held against what moves there: in shares
/// of the frame's width and height. It is made of the errors whatever part of a score is largest.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Region {
    /// Left edge, in [0, 1).
    pub left: f64,
    /// Upper edge, in [0, 1).
    pub top: f64,
    /// Right edge, in (0, 1].
    pub right: f64,
    /// Lower edge, in (0, 1].
    pub bottom: f64,
    /// Share of the whole frame's relative error that lies in the box, in [0, 1].
    pub share: f64,
}

/// A cell belongs to the region of its neighbour where it has this share of the largest value.
const EDGE: f32 = 0.3;

impl Region {
    /// The box around the largest relative error and the cells joined to it (by edge or corner)
    /// that have at least three tenths of it.
    pub fn of(maps: &ClipMaps) -> Self {
        Self::around_peak(&maps.relative_error())
    }

    fn around_peak(map: &Plane) -> Self {
        let (height, width) = (map.height, map.width);
        let peak = (0..map.values.len())
            .max_by(|&a, &b| map.values[a].total_cmp(&map.values[b]).then(b.cmp(&a)))
            .unwrap_or_default();
        let least = EDGE * map.values.get(peak).copied().unwrap_or_default();
        let mut joined = vec![false; map.values.len()];
        let mut open = vec![peak];
        let [mut left, mut top, mut right, mut bottom] = [width, height, 0, 0];
        while let Some(cell) = open.pop() {
            if cell >= joined.len() || joined[cell] || map.values[cell] < least {
                continue;
            }
            joined[cell] = true;
            let (y, x) = (cell / width, cell % width);
            (left, right) = (left.min(x), right.max(x + 1));
            (top, bottom) = (top.min(y), bottom.max(y + 1));
            let near = |at: usize, end: usize| at.saturating_sub(1)..(at + 2).min(end);
            let rows = near(y, height);
            open.extend(
                rows.flat_map(|row| near(x, width).map(move |column| row * width + column)),
            );
        }
        let inside = |cell: usize| {
            (top..bottom).contains(&(cell / width)) && (left..right).contains(&(cell % width))
        };
        let sum = |wanted: &dyn Fn(usize) -> bool| -> f64 {
            let cells = map.values.iter().enumerate();
            cells.filter(|&(cell, _)| wanted(cell)).map(|(_, &value)| f64::from(value)).sum()
        };
        let total = sum(&|_| true);
        let across = |cells: usize, of: usize| cells as f64 / of.max(1) as f64;
        Self {
            left: across(left.min(right), width),
            top: across(top.min(bottom), height),
            right: across(right, width),
            bottom: across(bottom, height),
            share: if total > 0.0 { sum(&inside) / total } else { 0.0 },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn plane(rows: &[&[f32]]) -> Plane {
        let values: Vec<f32> = rows.concat();
        Plane { height: rows.len(), width: rows[0].len(), channels: 1, values: values.into() }
    }

    #[test]
    fn the_box_holds_the_peak_and_what_is_joined_to_it() {
        let map = plane(&[
            &[0.0, 0.0, 0.0, 0.9],
            &[0.0, 1.0, 0.5, 0.0],
            &[0.0, 0.4, 0.2, 0.0],
            &[0.8, 0.0, 0.0, 0.0],
        ]);
        // The corner at the upper right touches 0.5 by a corner, the lower left 0.4.
        let region = Region::around_peak(&map);
        assert_eq!([region.left, region.top, region.right, region.bottom], [0.0, 0.0, 1.0, 1.0]);
        assert!((region.share - 1.0).abs() < 1e-12);
        // The box is columns 1 and 2 of row 2; 0.1 and 0.2 lie above and beside it.
        let map = plane(&[&[0.0, 0.1, 0.0, 0.9], &[0.0; 4], &[0.0, 1.0, 0.5, 0.2], &[0.0; 4]]);
        let region = Region::around_peak(&map);
        assert_eq!([region.left, region.top, region.right, region.bottom], [0.25, 0.5, 0.75, 0.75]);
        assert!((region.share - 1.5 / 2.7).abs() < 1e-6);
    }

    #[test]
    fn an_empty_map_has_a_box_and_no_share() {
        let region = Region::around_peak(&plane(&[&[0.0, 0.0], &[0.0, 0.0]]));
        assert_eq!((region.right, region.bottom, region.share), (1.0, 1.0, 0.0));
    }
}
