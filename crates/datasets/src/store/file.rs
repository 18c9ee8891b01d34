//! One video's frames as a file:
//!
//! ```text
//!  0  8  "PGFRAMES"
//!  8  4  format, 1          all numbers little-endian
//! 12  4  side in pixels
//! 16  8  number of frames
//! 24 32  identity of the source
//! 56  4  CRC-32 of the pixels
//! 60  4  CRC-32 of the 60 bytes before
//! 64  …  frames of side × side × 3 bytes
//! ```
//!
//! Frames are read at their position instead of mapped: a file that is cut short by a failing
//! disk is then an error with a name, where a mapping would kill the process, and no `unsafe` is
//! needed. The copy of a full-size clip from the page cache costs a fraction of a millisecond on
//! the loader's own thread.

use std::fs::{File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};

use protoguard_core::{CHANNELS, Frame};
use tempfile::NamedTempFile;

use super::error::CacheError;
use super::identity::Identity;

const MAGIC: &[u8; 8] = b"PGFRAMES";
const FORMAT: u32 = 1;
const HEADER: usize = 64;

/// The head of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Header {
    side: u32,
    frames: u64,
    identity: Identity,
    pixels_crc: u32,
}

impl Header {
    fn to_bytes(self) -> [u8; HEADER] {
        let mut bytes = [0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.side.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.frames.to_le_bytes());
        bytes[24..56].copy_from_slice(&self.identity.0);
        bytes[56..60].copy_from_slice(&self.pixels_crc.to_le_bytes());
        let crc = crc32fast::hash(&bytes[..60]);
        bytes[60..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    fn pixel_bytes(self) -> Option<u64> {
        let frame = u64::from(self.side).pow(2) * CHANNELS as u64;
        frame.checked_mul(self.frames)
    }
}

/// A file being written. It appears under its name when it is whole, and not at all otherwise.
pub(super) struct FrameWriter {
    file: NamedTempFile,
    path: PathBuf,
    header: Header,
    crc: crc32fast::Hasher,
}

/// Begins the names of files that are being written.
pub(super) const UNFINISHED: &str = ".unfinished-";

impl FrameWriter {
    pub(super) fn create(path: &Path, identity: Identity, side: usize) -> Result<Self, CacheError> {
        let failed = |source| CacheError::Write { path: path.to_owned(), source };
        let folder = path.parent().unwrap_or(Path::new("."));
        let file = tempfile::Builder::new().prefix(UNFINISHED).tempfile_in(folder);
        let mut file = file.map_err(failed)?;
        file.write_all(&[0; HEADER]).map_err(failed)?;
        let side = u32::try_from(side).map_err(|error| failed(io::Error::other(error)))?;
        let header = Header { side, frames: 0, identity, pixels_crc: 0 };
        Ok(Self { file, path: path.to_owned(), header, crc: crc32fast::Hasher::new() })
    }

    /// Adds a frame of the writer's side.
    pub(super) fn push(&mut self, frame: &Frame) -> Result<(), CacheError> {
        self.crc.update(frame.pixels());
        self.header.frames += 1;
        self.file
            .write_all(frame.pixels())
            .map_err(|source| CacheError::Write { path: self.path.clone(), source })
    }

    /// Writes the head, syncs and renames.
    pub(super) fn finish(mut self) -> Result<CachedFrames, CacheError> {
        self.header.pixels_crc = self.crc.finalize();
        let path = self.path;
        let failed = |source| CacheError::Write { path: path.clone(), source };
        let file = self.file.as_file();
        file.write_all_at(&self.header.to_bytes(), 0).map_err(failed)?;
        // Frames of a shared folder are made by one user and read by others.
        file.set_permissions(Permissions::from_mode(0o644)).map_err(failed)?;
        file.sync_all().map_err(failed)?;
        let file = self.file.persist(&path).map_err(|error| failed(error.error))?;
        let frames = self.header.frames as usize;
        Ok(CachedFrames { file, path, side: self.header.side as usize, frames })
    }
}

/// An open file whose every byte was checked. It can be read even after it was evicted.
#[derive(Debug)]
pub(super) struct CachedFrames {
    file: File,
    path: PathBuf,
    side: usize,
    frames: usize,
}

impl CachedFrames {
    /// The frames at `path`, or nothing where there is no file, or one that is not whole and of
    /// this identity.
    pub(super) fn open(path: &Path, identity: Identity, side: usize) -> Option<Self> {
        let mut file = File::open(path).ok()?;
        let mut bytes = [0; HEADER];
        file.read_exact(&mut bytes).ok()?;
        let number = |range: std::ops::Range<usize>| {
            bytes[range].iter().rev().fold(0u64, |value, &byte| value << 8 | u64::from(byte))
        };
        let header = Header {
            side: u32::try_from(side).ok()?,
            frames: number(16..24),
            identity,
            pixels_crc: number(56..60) as u32,
        };
        let pixels = header.pixel_bytes()?;
        let length = file.metadata().ok()?.len();
        let whole = bytes == header.to_bytes() && length.checked_sub(HEADER as u64) == Some(pixels);
        if !whole || checksum(&mut file).ok()? != header.pixels_crc {
            return None;
        }
        // The order of last use is what eviction goes by; a read-only cache works without.
        let _ = file.set_modified(std::time::SystemTime::now());
        Some(Self { file, path: path.to_owned(), side, frames: header.frames as usize })
    }

    pub(super) fn len(&self) -> usize {
        self.frames
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    pub(super) fn bytes(&self) -> u64 {
        (HEADER + self.frames * self.frame_bytes()) as u64
    }

    fn frame_bytes(&self) -> usize {
        self.side * self.side * CHANNELS
    }

    /// The frame at `index`, which is below [`CachedFrames::len`].
    pub(super) fn read(&self, index: usize) -> Result<Frame, CacheError> {
        let failed = |source| CacheError::Read { path: self.path.clone(), source };
        let bytes = self.frame_bytes();
        let mut pixels = vec![0; bytes];
        self.file.read_exact_at(&mut pixels, (HEADER + index * bytes) as u64).map_err(failed)?;
        Frame::new(self.side, self.side, pixels).map_err(|error| failed(io::Error::other(error)))
    }
}

/// Of what is left of the file.
fn checksum(file: &mut File) -> io::Result<u32> {
    let mut crc = crc32fast::Hasher::new();
    let mut chunk = vec![0; 1 << 18];
    loop {
        match file.read(&mut chunk) {
            Ok(0) => return Ok(crc.finalize()),
            Ok(read) => crc.update(&chunk[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
