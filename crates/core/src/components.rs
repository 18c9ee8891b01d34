use crate::Mask;

/// A mask's connected components (8 neighbours), numbered from 0 in the order of their first
/// pixels.
#[derive(Clone, Debug)]
pub struct Components {
    width: usize,
    /// The component of every pixel; [`Self::NONE`] outside.
    components: Vec<u32>,
    pixels: Vec<u32>,
}

/// A marked pixel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct MarkedPixel {
    /// Its row.
    pub y: usize,
    /// Its column.
    pub x: usize,
    /// Its component.
    pub component: usize,
}

impl Components {
    const NONE: u32 = u32::MAX;

    /// Finds them.
    pub fn of(mask: &Mask) -> Self {
        let (height, width) = (mask.height(), mask.width());
        let mut found =
            Self { width, components: vec![Self::NONE; height * width], pixels: Vec::new() };
        if !mask.any() {
            return found;
        }
        for y in 0..height {
            for x in 0..width {
                if mask.get(y, x) && found.components[y * width + x] == Self::NONE {
                    found.flood(mask, y, x);
                }
            }
        }
        found
    }

    /// Gives the next number to everything connected with a pixel.
    fn flood(&mut self, mask: &Mask, y: usize, x: usize) {
        let component = self.pixels.len() as u32;
        let mut pixels = 0;
        let mut open = vec![y * self.width + x];
        self.components[y * self.width + x] = component;
        while let Some(at) = open.pop() {
            pixels += 1;
            let (y, x) = (at / self.width, at % self.width);
            for y in y.saturating_sub(1)..=(y + 1).min(mask.height() - 1) {
                for x in x.saturating_sub(1)..=(x + 1).min(self.width - 1) {
                    let at = y * self.width + x;
                    if mask.get(y, x) && self.components[at] == Self::NONE {
                        self.components[at] = component;
                        open.push(at);
                    }
                }
            }
        }
        self.pixels.push(pixels);
    }

    /// Pixels of every component.
    pub fn pixels(&self) -> &[u32] {
        &self.pixels
    }

    /// Every marked pixel, row after row.
    pub fn marked(&self) -> impl Iterator<Item = MarkedPixel> + '_ {
        let marked =
            self.components.iter().enumerate().filter(|&(_, &component)| component != Self::NONE);
        marked.map(|(at, &component)| MarkedPixel {
            y: at / self.width,
            x: at % self.width,
            component: component as usize,
        })
    }

    /// How many pixels each of these components shares with each of `others`, where any.
    ///
    /// # Panics
    /// When the masks differ in size.
    pub fn overlaps(&self, others: &Self) -> Vec<Overlap> {
        assert_eq!(self.components.len(), others.components.len(), "masks of one size");
        let mut shared = vec![0u32; self.pixels.len() * others.pixels.len()];
        for (&mine, &other) in self.components.iter().zip(&others.components) {
            if mine != Self::NONE && other != Self::NONE {
                shared[mine as usize * others.pixels.len() + other as usize] += 1;
            }
        }
        let columns = others.pixels.len();
        let pairs = shared.into_iter().enumerate().filter(|&(_, pixels)| pixels > 0);
        pairs
            .map(|(at, pixels)| Overlap { mine: at / columns, other: at % columns, pixels })
            .collect()
    }
}

/// Pixels that two components of two masks share.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap {
    /// The component of the one asked.
    pub mine: usize,
    /// The component of the other.
    pub other: usize,
    /// At least one.
    pub pixels: u32,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn components(rows: [&str; 4]) -> Components {
        Components::of(&Mask::from_fn(4, 4, |y, x| rows[y].as_bytes()[x] == b'#'))
    }

    #[test]
    fn pixels_are_joined_by_edges_and_corners() {
        let found = components(["#..#", ".#..", "...#", "#..#"]);
        assert_eq!(found.pixels(), [2, 1, 2, 1]);
        let marked: Vec<_> = found.marked().map(|at| [at.y, at.x, at.component]).collect();
        let expected = [[0, 0, 0], [0, 3, 1], [1, 1, 0], [2, 3, 2], [3, 0, 3], [3, 3, 2]];
        assert_eq!(marked, expected);
    }

    #[test]
    fn overlaps_are_counted_where_there_are_any() {
        let mine = components(["#..#", ".#..", "...#", "#..#"]);
        let others = components(["##..", "....", "..##", "...#"]);
        let overlap = |mine, other, pixels| Overlap { mine, other, pixels };
        assert_eq!(mine.overlaps(&others), [overlap(0, 0, 1), overlap(2, 1, 2)]);
    }
}
