use std::fmt;
use std::sync::Arc;

use crate::CHANNELS;

/// One decoded picture: `[height, width, 3]`, RGB, 8 bits a channel, row after row.
///
/// Gray video is replicated to three channels. The pixels are shared, so that cloning a frame
/// into the window of the next clip costs no copy; nor does making one of a decoder's buffer,
/// which an `Arc<[u8]>` would.
#[derive(Clone, PartialEq, Eq)]
pub struct Frame {
    height: usize,
    width: usize,
    pixels: Arc<Vec<u8>>,
}

/// Pixels that do not make up a frame.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// The buffer's length disagrees with the declared size.
    #[error(
        "frame of {height}x{width} pixels has {found} bytes; {expected} are expected (height * width * 3)"
    )]
    Length {
        /// Declared height in pixels.
        height: usize,
        /// Declared width in pixels.
        width: usize,
        /// Bytes that came.
        found: usize,
        /// Bytes that the size asks for.
        expected: usize,
    },
    /// A side of zero pixels.
    #[error("frame is {height}x{width} pixels; both sides must be at least 1")]
    Empty {
        /// Declared height in pixels.
        height: usize,
        /// Declared width in pixels.
        width: usize,
    },
}

impl Frame {
    /// A frame of `height` × `width` pixels from interleaved RGB bytes.
    ///
    /// # Errors
    /// When a side is zero or the number of bytes is not `height * width * 3`.
    pub fn new(
        height: usize,
        width: usize,
        pixels: impl Into<Vec<u8>>,
    ) -> Result<Self, FrameError> {
        let pixels = pixels.into();
        if height == 0 || width == 0 {
            return Err(FrameError::Empty { height, width });
        }
        let expected = height.saturating_mul(width).saturating_mul(CHANNELS);
        if pixels.len() != expected {
            return Err(FrameError::Length { height, width, found: pixels.len(), expected });
        }
        Ok(Self { height, width, pixels: Arc::new(pixels) })
    }

    /// A frame from one gray byte a pixel, replicated to three channels.
    ///
    /// # Errors
    /// As [`Frame::new`], counted after replication.
    pub fn from_gray(height: usize, width: usize, gray: &[u8]) -> Result<Self, FrameError> {
        let pixels: Vec<u8> = gray.iter().flat_map(|&value| [value; CHANNELS]).collect();
        Self::new(height, width, pixels)
    }

    /// Height in pixels.
    pub fn height(&self) -> usize {
        self.height
    }

    /// Width in pixels.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The pixels as `[height, width, 3]`.
    pub fn pixels(&self) -> &[u8] {
        &self.pixels
    }
}

impl fmt::Debug for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Frame({}x{})", self.height, self.width)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gray_is_replicated() {
        let frame = Frame::from_gray(1, 2, &[7, 9]).unwrap();
        assert_eq!(frame.pixels(), [7, 7, 7, 9, 9, 9]);
        assert_eq!((frame.height(), frame.width()), (1, 2));
        assert_eq!(format!("{frame:?}"), "Frame(1x2)");
    }

    #[test]
    fn wrong_length_is_named() {
        let error = Frame::new(2, 2, vec![0; 11]).unwrap_err();
        assert_eq!(
            error.to_string(),
            "frame of 2x2 pixels has 11 bytes; 12 are expected (height * width * 3)"
        );
        assert_eq!(
            Frame::new(0, 2, vec![]).unwrap_err(),
            FrameError::Empty { height: 0, width: 2 }
        );
        assert_eq!(
            Frame::new(2, 0, vec![]).unwrap_err(),
            FrameError::Empty { height: 2, width: 0 }
        );
    }
}
