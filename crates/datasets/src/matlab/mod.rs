//! The cells of a MATLAB level 5 file, and what they mark: Avenue's masks, as a stream.
//!
//! ```text
//! header 128 bytes: text, version 0x0100, "IM"
//! compressed element (zlib), or a plain one
//!   matrix: flags (class cell), dimensions, name
//!     matrix: flags (class numeric), dimensions, name, values     one a frame
//! ```
//!
//! Crates that read the format build the whole variable first. The masks of one minute unpack to
//! a third of a gigabyte of zeros and ones, of which one bit a frame or a pixel is wanted; here
//! they pass through 64 KiB, or one frame at a time. Deliberately absent: everything that these files do not have (structures,
//! sparse and complex matrices, big-endian machines, level 7.3).

mod element;
mod values;

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::path::Path;

use flate2::read::ZlibDecoder;

use element::{Matrix, Tag};
use values::{any_but_zero, width_of};

pub(crate) use values::MaskCells;

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

/// Takes the cells of a row in their order. All have the same size.
pub(crate) trait TakeCells {
    /// Reads a cell's values, all of them, and the padding behind them.
    fn take(&mut self, cell: &Cell, stream: &mut dyn Read) -> Result<(), MatError>;
}

/// What stands before one cell's values.
pub(crate) struct Cell {
    /// Height and width, as far as the matrix has two dimensions.
    dimensions: Vec<u32>,
    values: Tag,
}

/// Whether each cell holds any value but zero.
struct MarkedCells(Vec<bool>);

impl TakeCells for MarkedCells {
    fn take(&mut self, cell: &Cell, mut stream: &mut dyn Read) -> Result<(), MatError> {
        self.0.push(any_but_zero(&mut stream, &cell.values)?);
        Ok(())
    }
}

/// For every cell of the row `variable`, whether it holds any value but zero.
///
/// # Errors
/// When the file is of another format, has no such variable, or the variable is no row of real
/// numeric matrices.
pub(crate) fn marked_cells(path: &Path, variable: &str) -> Result<Vec<bool>, MatError> {
    let mut cells = MarkedCells(Vec::new());
    read_cells(path, variable, &mut cells)?;
    Ok(cells.0)
}

/// Gives every cell of the row `variable` to `cells`.
///
/// # Errors
/// As [`marked_cells`], and what `cells` finds.
pub(crate) fn read_cells(
    path: &Path,
    variable: &str,
    cells: &mut dyn TakeCells,
) -> Result<(), MatError> {
    let mut file = BufReader::new(File::open(path)?);
    check_header(&mut file)?;
    let mut row = Row { variable, names: Vec::new(), cells };
    while let Some(tag) = Tag::read_or_end(&mut file)? {
        let mut body = file.by_ref().take(u64::from(tag.bytes));
        let found = match tag.kind {
            COMPRESSED => {
                let mut stream = BufReader::with_capacity(1 << 16, ZlibDecoder::new(&mut body));
                let inner = Tag::read(&mut stream)?;
                if inner.kind == MATRIX { row.read(&mut stream)? } else { false }
            }
            MATRIX => row.read(&mut body)?,
            _ => false,
        };
        if found {
            return Ok(());
        }
        io::copy(&mut body, &mut io::sink())?;
    }
    let names = row.names;
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

/// The variable that is looked for.
struct Row<'a> {
    variable: &'a str,
    /// Those found instead so far.
    names: Vec<String>,
    cells: &'a mut dyn TakeCells,
}

impl Row<'_> {
    /// Reads one variable's matrix; whether it is the one wanted. The rest of another one is left
    /// unread.
    fn read(&mut self, stream: &mut impl Read) -> Result<bool, MatError> {
        let matrix = Matrix::read(stream)?;
        if matrix.name != self.variable {
            self.names.push(matrix.name);
            return Ok(false);
        }
        if matrix.class != CELL_CLASS {
            let (found, expected) =
                (format!("of class {}", matrix.class), "a cell array (class 1)");
            return Err(MatError::Part { part: "the variable", found, expected });
        }
        let row = matrix.dimensions.contains(&1) && matrix.dimensions.len() == 2;
        if !row {
            let (found, expected) =
                (format!("of size {:?}", matrix.dimensions), "one cell a frame");
            return Err(MatError::Part { part: "the cell array", found, expected });
        }
        // The file may lie about the number of cells: room is made as they come.
        let mut first = None;
        for _ in 0..matrix.elements()? {
            let cell = cell_head(stream, first.get_or_insert_default())?;
            self.cells.take(&cell, stream)?;
        }
        Ok(true)
    }
}

/// What stands before the next cell's values. All cells have the size of the first.
fn cell_head(stream: &mut impl Read, size: &mut Vec<u32>) -> Result<Cell, MatError> {
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
    let stored = width_of(values.kind).map(u64::from);
    let bytes = matrix.elements()?;
    if stored.is_none_or(|width| bytes.saturating_mul(width) != u64::from(values.bytes)) {
        let found = format!("stored as type {} in {} bytes", values.kind, values.bytes);
        return wrong(found, "one number a pixel");
    }
    Ok(Cell { dimensions: matrix.dimensions, values })
}
