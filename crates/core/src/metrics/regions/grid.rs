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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_have_the_pixels_whose_centres_they_hold() {
        // The centres of five columns lie at 0.3, 0.9, 1.5, 2.1 and 2.7 cells of three.
        let values = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
        let map = Plane { height: 2, width: 3, channels: 1, values: values.into() };
        let grid = Grid::new(&map, &Mask::from_fn(4, 5, |_, _| false));
        let pixels: Vec<u32> = (0..6).map(|cell| grid.pixels(cell)).collect();
        assert_eq!(pixels, [4, 2, 4, 4, 2, 4]);
        let lowest: Vec<usize> = (0..5).map(|x| grid.cell(3, x)).collect();
        assert_eq!(lowest, [3, 3, 4, 5, 5]);
        assert_eq!(grid.values, values);
    }
}
