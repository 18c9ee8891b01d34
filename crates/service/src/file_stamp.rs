//! Whether a file has changed, without reading it.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// Tells one state of a file from another without reading it. Times are compared for equality and
/// never for order, so a clock that jumps hides nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileStamp {
    inode: u64,
    bytes: u64,
    modified: [i64; 2],
}

impl FileStamp {
    /// The present state of the file that `path` leads to, through links.
    ///
    /// # Errors
    /// When there is none.
    pub fn of(path: &Path) -> io::Result<Self> {
        let metadata = std::fs::metadata(path)?;
        let modified = [metadata.mtime(), metadata.mtime_nsec()];
        Ok(Self { inode: metadata.ino(), bytes: metadata.len(), modified })
    }

    /// A stamp of something that is no file; another number is another state.
    pub fn number(number: u64) -> Self {
        Self { inode: number, ..Self::default() }
    }
}
