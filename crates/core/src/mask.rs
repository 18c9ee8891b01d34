use std::fmt;
use std::sync::Arc;

/// Which pixels of a frame are marked: `[height, width]`, one bit a pixel, row after row.
///
/// Ground truth of a whole data set stays in memory this way: 240 × 360 pixels are 10.8 kB.
/// Cloning copies no pixel.
#[derive(Clone, PartialEq, Eq)]
pub struct Mask {
    height: usize,
    width: usize,
    words: Arc<[u64]>,
}

impl Mask {
    /// A mask that marks the pixels `(y, x)` for which `marked` says so.
    pub fn from_fn(height: usize, width: usize, marked: impl Fn(usize, usize) -> bool) -> Self {
        let pixels = height * width;
        let word = |word: usize| {
            let bits = (word * 64..pixels.min(word * 64 + 64)).enumerate();
            bits.fold(0u64, |all, (bit, at)| all | u64::from(marked(at / width, at % width)) << bit)
        };
        Self { height, width, words: (0..pixels.div_ceil(64)).map(word).collect() }
    }

    /// A mask that marks nothing.
    pub fn empty(height: usize, width: usize) -> Self {
        Self { height, width, words: vec![0; (height * width).div_ceil(64)].into() }
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// Whether the pixel is marked.
    ///
    /// # Panics
    /// When it lies outside.
    pub fn get(&self, y: usize, x: usize) -> bool {
        assert!(y < self.height && x < self.width, "pixel {y}, {x} of {self:?}");
        let at = y * self.width + x;
        self.words[at / 64] >> (at % 64) & 1 == 1
    }

    /// Marked pixels.
    pub fn count(&self) -> usize {
        self.words.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// Whether it marks anything.
    pub fn any(&self) -> bool {
        self.words.iter().any(|&word| word != 0)
    }

    /// The mask at another size: every pixel takes the state of the one under its centre, so that
    /// what is narrower than a new pixel may vanish.
    ///
    /// # Panics
    /// When it has no pixels and the new size has.
    #[must_use]
    pub fn resized(&self, height: usize, width: usize) -> Self {
        if (height, width) == (self.height, self.width) {
            return self.clone();
        }
        let (rows, columns) = (nearest(height, self.height), nearest(width, self.width));
        Self::from_fn(height, width, |y, x| self.get(rows[y], columns[x]))
    }
}

/// For each of `output` positions of an axis the one of `input` positions under its centre.
pub(crate) fn nearest(output: usize, input: usize) -> Vec<usize> {
    (0..output).map(|at| (2 * at + 1) * input / (2 * output)).collect()
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Mask({}x{}, {} marked)", self.height, self.width, self.count())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bits_are_where_they_were_put() {
        let mask = Mask::from_fn(7, 13, |y, x| (y * 13 + x) % 5 == 2);
        let marked = |y, x| (y * 13 + x) % 5 == 2;
        assert!((0..7).all(|y| (0..13).all(|x| mask.get(y, x) == marked(y, x))));
        assert_eq!((mask.count(), mask.any()), (18, true));
        assert_eq!(format!("{mask:?}"), "Mask(7x13, 18 marked)");
        let empty = Mask::empty(7, 13);
        assert_eq!((empty.count(), empty.any()), (0, false));
        assert_eq!(empty, Mask::from_fn(7, 13, |_, _| false));
    }

    #[test]
    fn resizing_takes_the_pixel_under_the_centre() {
        let mask = Mask::from_fn(2, 4, |y, x| y == 0 && x >= 2);
        let larger = mask.resized(4, 8);
        assert_eq!(larger, Mask::from_fn(4, 8, |y, x| y < 2 && x >= 4));
        assert_eq!(larger.resized(2, 4), mask);
        // Centres of 3 columns lie in columns 0, 2 and 3 of 4.
        assert_eq!(nearest(3, 4), [0, 2, 3]);
        assert_eq!(mask.resized(1, 3), Mask::empty(1, 3));
    }

    proptest! {
        #[test]
        fn resizing_stays_inside(output in 1usize..40, input in 1usize..40) {
            let positions = nearest(output, input);
            prop_assert!(positions.is_sorted());
            prop_assert!(positions.iter().all(|&at| at < input));
            if output >= input {
                prop_assert!((0..input).all(|at| positions.contains(&at)));
            }
        }
    }
}
