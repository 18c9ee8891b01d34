//! The elements that a MATLAB file is made of.

use std::io::{self, Read};

use super::MatError;

const COMPLEX_FLAG: u32 = 0x800;

/// Type and length of an element. A small element's bytes are in its tag.
pub(super) struct Tag {
    pub(super) kind: u32,
    pub(super) bytes: u32,
    pub(super) small: Option<[u8; 4]>,
}

impl Tag {
    pub(super) fn read(stream: &mut impl Read) -> Result<Self, MatError> {
        Self::read_or_end(stream)?
            .ok_or_else(|| io::Error::new(io::ErrorKind::UnexpectedEof, "it breaks off").into())
    }

    /// Nothing where the stream ends before it.
    pub(super) fn read_or_end(stream: &mut impl Read) -> Result<Option<Self>, MatError> {
        let mut tag = [0u8; 8];
        let begun = loop {
            match stream.read(&mut tag[..1]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read?,
            }
        };
        if begun == 0 {
            return Ok(None);
        }
        stream.read_exact(&mut tag[1..])?;
        let [a, b, c, d, data @ ..] = tag;
        let first = u32::from_le_bytes([a, b, c, d]);
        let (kind, small_bytes) = (first & 0xFFFF, first >> 16);
        if small_bytes == 0 {
            return Ok(Some(Self { kind: first, bytes: u32::from_le_bytes(data), small: None }));
        }
        if small_bytes > 4 {
            let found = format!("{small_bytes} bytes");
            let expected = "at most 4 bytes";
            return Err(MatError::Part { part: "a small element", found, expected });
        }
        Ok(Some(Self { kind, bytes: small_bytes, small: Some(data) }))
    }

    /// The element's bytes; there are to be at most `limit`.
    fn payload(&self, stream: &mut impl Read, limit: u32) -> Result<Vec<u8>, MatError> {
        if let Some(small) = self.small {
            return Ok(small[..self.bytes as usize].to_vec());
        }
        if self.bytes > limit {
            let (found, expected) = (format!("{} bytes", self.bytes), "a few bytes");
            return Err(MatError::Part { part: "a matrix's head", found, expected });
        }
        let mut payload = vec![0; self.bytes as usize];
        stream.read_exact(&mut payload)?;
        skip_padding(stream, self.bytes)?;
        Ok(payload)
    }
}

/// Elements begin at multiples of eight bytes.
pub(super) fn skip_padding(stream: &mut impl Read, bytes: u32) -> Result<(), MatError> {
    let mut padding = [0; 8];
    let rest = (8 - bytes as usize % 8) % 8;
    Ok(stream.read_exact(&mut padding[..rest])?)
}

/// What stands before a matrix's values.
pub(super) struct Matrix {
    pub(super) class: u32,
    pub(super) complex: bool,
    pub(super) dimensions: Vec<u32>,
    pub(super) name: String,
}

impl Matrix {
    pub(super) fn read(stream: &mut impl Read) -> Result<Self, MatError> {
        let mut words = || -> Result<Vec<u32>, MatError> {
            let payload = Tag::read(stream)?.payload(stream, 256)?;
            let word = |bytes: &[u8]| bytes.iter().rev().fold(0, |w, &b| w << 8 | u32::from(b));
            Ok(payload.chunks_exact(4).map(word).collect())
        };
        let (flags, dimensions) = (words()?, words()?);
        let name = Tag::read(stream)?.payload(stream, 256)?;
        let flags = flags.first().copied().unwrap_or_default();
        Ok(Self {
            class: flags & 0xFF,
            complex: flags & COMPLEX_FLAG != 0,
            dimensions,
            name: String::from_utf8_lossy(&name).into_owned(),
        })
    }

    pub(super) fn elements(&self) -> Result<u64, MatError> {
        let product = |all: u64, &n: &u32| all.checked_mul(u64::from(n));
        self.dimensions.iter().try_fold(1u64, product).ok_or_else(|| {
            let found = format!("{:?}", self.dimensions);
            MatError::Part { part: "the size", found, expected: "a size that fits in memory" }
        })
    }
}
