use std::fmt;
use std::sync::Arc;

/// A picture of real numbers that a model made: `[height, width, channels]`, row after row.
#[derive(Clone, PartialEq)]
pub struct Plane {
    /// Height in pixels.
    pub height: usize,
    /// Width in pixels.
    pub width: usize,
    /// Values a pixel.
    pub channels: usize,
    /// `height * width * channels` values; the owner states their range.
    pub values: Arc<[f32]>,
}

impl fmt::Debug for Plane {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Plane({}x{}x{})", self.height, self.width, self.channels)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_shown_by_its_size() {
        let plane = Plane { height: 2, width: 3, channels: 1, values: [0.0; 6].into() };
        assert_eq!(format!("{plane:?}"), "Plane(2x3x1)");
    }
}
