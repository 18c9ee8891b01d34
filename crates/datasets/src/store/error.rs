//! What keeps the frame cache from being used.

use std::io;
use std::path::PathBuf;

/// A frame cache that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CacheError {
    /// There is no home to put it in.
    #[error(
        "no folder for the frame cache: neither XDG_CACHE_HOME nor HOME is set; name one, or switch the cache off"
    )]
    NoHome,
    /// The folder does not take files.
    #[error(
        "frame cache folder {path:?} cannot be written: {source}; name another, or switch the cache off"
    )]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file could not be written, such as on a full disk. Nothing half-written is left.
    #[error(
        "frame cache file {path:?} cannot be written: {source}; make room, name another folder, or switch the cache off"
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// A file that was whole when it was opened can no longer be read.
    #[error("frame cache file {path:?} cannot be read: {source}")]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's words.
        source: io::Error,
    },
    /// One data set needs more than the cache may hold.
    #[error(
        "frames of this data set need more than the frame cache's limit of {limit_bytes} bytes; raise the limit, or switch the cache off"
    )]
    Limit {
        /// The limit.
        limit_bytes: u64,
    },
}
