use crate::Mask;

/// A mask's connected components (8 neighbours), numbered from 0 in the order of their first
/// pixels.
pub(super) struct TrueRegions {
    width: usize,
    /// The region of every pixel; [`Self::NONE`] outside.
    regions: Vec<u32>,
    /// Pixels of every region.
    pub(super) pixels: Vec<u32>,
}

/// A marked pixel.
pub(super) struct MarkedPixel {
    pub(super) y: usize,
    pub(super) x: usize,
    pub(super) region: usize,
}

impl TrueRegions {
    const NONE: u32 = u32::MAX;

    pub(super) fn of(mask: &Mask) -> Self {
        let (height, width) = (mask.height(), mask.width());
        let mut found =
            Self { width, regions: vec![Self::NONE; height * width], pixels: Vec::new() };
        if !mask.any() {
            return found;
        }
        for y in 0..height {
            for x in 0..width {
                if mask.get(y, x) && found.regions[y * width + x] == Self::NONE {
                    found.flood(mask, y, x);
                }
            }
        }
        found
    }

    /// Gives the next number to everything connected with a pixel.
    fn flood(&mut self, mask: &Mask, y: usize, x: usize) {
        let region = self.pixels.len() as u32;
        let mut pixels = 0;
        let mut open = vec![y * self.width + x];
        self.regions[y * self.width + x] = region;
        while let Some(at) = open.pop() {
            pixels += 1;
            let (y, x) = (at / self.width, at % self.width);
            for y in y.saturating_sub(1)..=(y + 1).min(mask.height() - 1) {
                for x in x.saturating_sub(1)..=(x + 1).min(self.width - 1) {
                    let at = y * self.width + x;
                    if mask.get(y, x) && self.regions[at] == Self::NONE {
                        self.regions[at] = region;
                        open.push(at);
                    }
                }
            }
        }
        self.pixels.push(pixels);
    }

    pub(super) fn marked(&self) -> impl Iterator<Item = MarkedPixel> + '_ {
        let marked = self.regions.iter().enumerate().filter(|&(_, &region)| region != Self::NONE);
        marked.map(|(at, &region)| MarkedPixel {
            y: at / self.width,
            x: at % self.width,
            region: region as usize,
        })
    }

    /// How many pixels each of these regions shares with each of `others`, where any.
    pub(super) fn overlaps(&self, others: &Self) -> Vec<Overlap> {
        let mut shared = vec![0u32; self.pixels.len() * others.pixels.len()];
        for (&mine, &other) in self.regions.iter().zip(&others.regions) {
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

/// Pixels that two regions share.
pub(super) struct Overlap {
    pub(super) mine: usize,
    pub(super) other: usize,
    pub(super) pixels: u32,
}
