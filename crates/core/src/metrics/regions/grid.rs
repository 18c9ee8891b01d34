use crate::mask::nearest;
use crate::{Mask, Plane};

/// A map's cells as they lie over a mask: every pixel belongs to the cell under its centre. Rows
/// and columns of the map that no pixel falls into are left out, so that a map finer than the
/// mask is thinned to it.
pub(super) struct Grid {
    pub(super) rows: Axis,
    pub(super) columns: Axis,
    /// The map's values, row after row.
    pub(super) values: Vec<f32>,
}

/// One axis of a grid.
pub(super) struct Axis {
    /// The cell of every pixel.
    pub(super) of_pixel: Vec<usize>,
    /// Pixels of every cell, at least one.
    pub(super) pixels: Vec<u32>,
}

impl Grid {
    pub(super) fn new(map: &Plane, mask: &Mask) -> Self {
        let (rows, map_rows) = Axis::new(mask.height(), map.height);
        let (columns, map_columns) = Axis::new(mask.width(), map.width);
        let values = map_rows.iter().flat_map(|y| {
            let row = &map.values[y * map.width..][..map.width];
            map_columns.iter().map(|&x| row[x])
        });
        Self { values: values.collect(), rows, columns }
    }

    pub(super) fn cell(&self, y: usize, x: usize) -> usize {
        self.rows.of_pixel[y] * self.columns.pixels.len() + self.columns.of_pixel[x]
    }

    /// Pixels of a cell.
    pub(super) fn pixels(&self, cell: usize) -> u32 {
        let columns = self.columns.pixels.len();
        self.rows.pixels[cell / columns] * self.columns.pixels[cell % columns]
    }
}

impl Axis {
    /// The axis, and the map's row or column of each of its cells.
    fn new(pixels: usize, cells: usize) -> (Self, Vec<usize>) {
        let (mut axis, mut used) = (Self { of_pixel: Vec::new(), pixels: Vec::new() }, Vec::new());
        for cell in nearest(pixels, cells) {
            if used.last() != Some(&cell) {
                used.push(cell);
                axis.pixels.push(0);
            }
            axis.of_pixel.push(used.len() - 1);
            axis.pixels[used.len() - 1] += 1;
        }
        (axis, used)
    }
}
