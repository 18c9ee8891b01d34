//! The values of a cell, as labels and as masks.

use std::io::{self, Read};

use protoguard_core::Mask;
use protoguard_frames::DecodeLimits;

use super::element::{Tag, skip_padding};
use super::{Cell, MatError, TakeCells};

/// Storage as single or double; the others that numeric classes use are integers.
const SINGLE: u32 = 7;
const DOUBLE: u32 = 9;

/// Bytes of a number, of types that numeric classes are stored as.
pub(super) fn width_of(kind: u32) -> Option<u32> {
    match kind {
        1 | 2 => Some(1),
        3 | 4 => Some(2),
        5 | 6 | SINGLE => Some(4),
        DOUBLE | 12 | 13 => Some(8),
        _ => None,
    }
}

/// Reads values to their end, padding included; whether any is not zero.
pub(super) fn any_but_zero(stream: &mut impl Read, values: &Tag) -> Result<bool, MatError> {
    // The sign of a floating-point zero is no value: of the last byte of each, seven bits count.
    let float = float_width(values);
    let mut chunk = [0u8; 1 << 14];
    let (mut left, mut marked) = (values.bytes as usize, false);
    if let Some(small) = values.small {
        return Ok(significant(&small[..left], float));
    }
    while left > 0 {
        let take = left.min(chunk.len());
        stream.read_exact(&mut chunk[..take])?;
        marked = marked || significant(&chunk[..take], float);
        left -= take;
    }
    skip_padding(stream, values.bytes)?;
    Ok(marked)
}

fn float_width(values: &Tag) -> Option<usize> {
    match values.kind {
        SINGLE => Some(4),
        DOUBLE => Some(8),
        _ => None,
    }
}

fn significant(bytes: &[u8], float: Option<usize>) -> bool {
    match float {
        None => bytes.iter().any(|&byte| byte != 0),
        Some(width) => {
            let sign = |index: usize| index % width == width - 1;
            bytes.iter().enumerate().any(
                |(index, &byte)| {
                    if sign(index) { byte & 0x7F != 0 } else { byte != 0 }
                },
            )
        }
    }
}

/// The cells as masks.
pub(crate) struct MaskCells {
    /// Those read so far.
    pub(crate) masks: Vec<Mask>,
    /// Side that masks are resized to, if any.
    pub(crate) side: Option<usize>,
}

impl TakeCells for MaskCells {
    /// MATLAB counts down the columns: the value of a pixel lies at `x * height + y`.
    fn take(&mut self, cell: &Cell, stream: &mut dyn Read) -> Result<(), MatError> {
        let size = |found: String| MatError::Part {
            part: "a mask",
            found,
            expected: "a picture of at least one pixel, within the limits of frames",
        };
        let &[height, width] = cell.dimensions.as_slice() else {
            return Err(size(format!("of size {:?}", cell.dimensions)));
        };
        let (height, width) = (height as usize, width as usize);
        if height == 0 || width == 0 {
            return Err(size(format!("of size {height}x{width}")));
        }
        let limits = DecodeLimits::default();
        limits.check_size(height, width).map_err(|error| size(error.to_string()))?;
        let bytes = whole(stream, &cell.values)?;
        let (each, float) = (bytes.len() / (height * width), float_width(&cell.values));
        let mask = Mask::from_fn(height, width, |y, x| {
            let at = (x * height + y) * each;
            significant(&bytes[at..at + each], float)
        });
        self.masks.push(self.side.map_or_else(|| mask.clone(), |side| mask.resized(side, side)));
        Ok(())
    }
}

/// Reads all values, padding included. Room is made as they come, whatever the file declares.
fn whole(mut stream: &mut dyn Read, values: &Tag) -> Result<Vec<u8>, MatError> {
    let length = values.bytes as usize;
    if let Some(small) = values.small {
        return Ok(small[..length].to_vec());
    }
    let mut bytes = Vec::new();
    Read::take(&mut stream, u64::from(values.bytes)).read_to_end(&mut bytes)?;
    if bytes.len() < length {
        return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it breaks off").into());
    }
    skip_padding(&mut stream, values.bytes)?;
    Ok(bytes)
}
