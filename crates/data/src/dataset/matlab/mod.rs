//! Which cells of a MATLAB level 5 file mark anything: Avenue's masks, as a stream.
//!
//! ```text
//! header 128 bytes: text, version 0x0100, "IM"
//! compressed element (zlib), or a plain one
//!   matrix: flags (class cell), dimensions, name
//!     matrix: flags (class numeric), dimensions, name, values     one a frame
//! ```
//!
//! Crates that read the format build the whole variable first. The masks of one minute unpack to
//! a third of a gigabyte of zeros and ones, of which one bit a frame is wanted; here they pass
//! through 64 KiB. Deliberately absent: everything that these files do not have (structures,
//! sparse and complex matrices, big-endian machines, level 7.3).

mod element;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::ZlibDecoder;

use element::{Matrix, Tag, skip_padding};

/// A file that is not a row of numeric masks.
#[derive(Debug, thiserror::Error)]
pub enum MatError {
    /// Another format, or one of which this reads nothing.
    #[error("it is no little-endian MATLAB level 5 file: {found}; expected {expected}")]
    Format {
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// A well-formed file without the variable.
    #[error("it has no variable {expected:?}; found {found}")]
    NoVariable {
        /// Name of the variable that was looked for.
        expected: String,
        /// The names there are.
        found: String,
    },
    /// Part of the file is not what its place asks for.
    #[error("{part} is {found}; expected {expected}")]
    Part {
        /// Which part.
        part: &'static str,
        /// What stands there.
        found: String,
        /// What should.
        expected: &'static str,
    },
    /// The file breaks off, its compressed bytes are damaged, or the system refuses.
    #[error("it cannot be read: {0}")]
    Io(#[from] io::Error),
}

const COMPRESSED: u32 = 15;
const MATRIX: u32 = 14;
const CELL_CLASS: u32 = 1;
/// Double, single, and the integers of 8 to 64 bits.
const NUMERIC_CLASSES: std::ops::RangeInclusive<u32> = 6..=15;
/// Storage as single or double; the others that numeric classes use are integers.
const FLOATS: [u32; 2] = [7, 9];
const INTEGERS: [u32; 8] = [1, 2, 3, 4, 5, 6, 12, 13];

/// For every cell of the row `variable`, whether it holds any value but zero.
///
/// # Errors
/// When the file is of another format, has no such variable, or the variable is no row of real
/// numeric matrices.
pub(crate) fn marked_cells(path: &Path, variable: &str) -> Result<Vec<bool>, MatError> {
    let mut file = BufReader::new(File::open(path)?);
    check_header(&mut file)?;
    let mut names = Vec::new();
    while let Some(tag) = Tag::read_or_end(&mut file)? {
        let mut body = file.by_ref().take(u64::from(tag.bytes));
        let found = match tag.kind {
            COMPRESSED => {
                let mut stream = BufReader::with_capacity(1 << 16, ZlibDecoder::new(&mut body));
                let inner = Tag::read(&mut stream)?;
                if inner.kind == MATRIX {
                    variable_in(&mut stream, variable, &mut names)?
                } else {
                    None
                }
            }
            MATRIX => variable_in(&mut body, variable, &mut names)?,
            _ => None,
        };
        if let Some(cells) = found {
            return Ok(cells);
        }
        io::copy(&mut body, &mut io::sink())?;
    }
    let found = if names.is_empty() { "none".to_owned() } else { names.join(", ") };
    Err(MatError::NoVariable { expected: variable.to_owned(), found })
}

fn check_header(file: &mut impl Read) -> Result<(), MatError> {
    let expected = "a header of 128 bytes that ends in version 0x0100 and the letters IM";
    let mut header = [0; 128];
    let mut read = 0;
    while read < header.len() {
        match file.read(&mut header[read..])? {
            0 => {
                let found = format!("it has {read} bytes");
                return Err(MatError::Format { found, expected });
            }
            more => read += more,
        }
    }
    if header[124..] != [0x00, 0x01, b'I', b'M'] {
        let text = String::from_utf8_lossy(&header[..32]).trim().to_owned();
        let found = format!("its header begins {text:?} and ends {:02x?}", &header[124..]);
        return Err(MatError::Format { found, expected });
    }
    Ok(())
}

/// Reads one variable's matrix; its cells where it is the one wanted. The rest of another one is
/// left unread.
fn variable_in(
    stream: &mut impl Read,
    variable: &str,
    names: &mut Vec<String>,
) -> Result<Option<Vec<bool>>, MatError> {
    let matrix = Matrix::read(stream)?;
    if matrix.name != variable {
        names.push(matrix.name);
        return Ok(None);
    }
    if matrix.class != CELL_CLASS {
        let (found, expected) = (format!("of class {}", matrix.class), "a cell array (class 1)");
        return Err(MatError::Part { part: "the variable", found, expected });
    }
    let cells = matrix.elements()?;
    let row = matrix.dimensions.contains(&1) && matrix.dimensions.len() == 2;
    if !row {
        let (found, expected) = (format!("of size {:?}", matrix.dimensions), "one cell a frame");
        return Err(MatError::Part { part: "the cell array", found, expected });
    }
    // The file may lie about the number of cells: room is made as they come.
    let mut marked = Vec::new();
    let mut first = None;
    for _ in 0..cells {
        let cell = marked_cell(stream, first.get_or_insert_default())?;
        marked.push(cell);
    }
    Ok(Some(marked))
}

/// Whether the next cell marks anything. All cells have the size of the first.
fn marked_cell(stream: &mut impl Read, size: &mut Vec<u32>) -> Result<bool, MatError> {
    let part = "a mask";
    let wrong = |found: String, expected| Err(MatError::Part { part, found, expected });
    let tag = Tag::read(stream)?;
    if tag.kind != MATRIX || tag.bytes == 0 {
        let found = format!("an element of type {} in {} bytes", tag.kind, tag.bytes);
        return wrong(found, "a matrix (type 14)");
    }
    let matrix = Matrix::read(stream)?;
    if !NUMERIC_CLASSES.contains(&matrix.class) || matrix.complex {
        return wrong(format!("of class {}", matrix.class), "a real numeric or logical matrix");
    }
    if size.is_empty() {
        size.clone_from(&matrix.dimensions);
    }
    if *size != matrix.dimensions {
        let found = format!("of size {:?} beside {size:?}", matrix.dimensions);
        return wrong(found, "masks of one size");
    }
    let values = Tag::read(stream)?;
    let width = match values.kind {
        1 | 2 => 1,
        3 | 4 => 2,
        5..=7 => 4,
        _ => 8,
    };
    let known = INTEGERS.contains(&values.kind) || FLOATS.contains(&values.kind);
    if !known || u64::from(values.bytes) != matrix.elements()?.saturating_mul(width) {
        let found = format!("stored as type {} in {} bytes", values.kind, values.bytes);
        return wrong(found, "one number a pixel");
    }
    any_but_zero(stream, &values)
}

/// Reads values to their end, padding included.
fn any_but_zero(stream: &mut impl Read, values: &Tag) -> Result<bool, MatError> {
    // The sign of a floating-point zero is no value: of the last byte of each, seven bits count.
    let stride = match values.kind {
        7 => Some(4),
        9 => Some(8),
        _ => None,
    };
    let mut chunk = [0u8; 1 << 14];
    let (mut left, mut marked) = (values.bytes as usize, false);
    if let Some(small) = values.small {
        return Ok(significant(&small[..left], stride));
    }
    while left > 0 {
        let take = left.min(chunk.len());
        stream.read_exact(&mut chunk[..take])?;
        marked = marked || significant(&chunk[..take], stride);
        left -= take;
    }
    skip_padding(stream, values.bytes)?;
    Ok(marked)
}

fn significant(bytes: &[u8], stride: Option<usize>) -> bool {
    match stride {
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
