//! What a cached video is named by.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use protoguard_frames::RESIZER;
use protoguard_frames::files::{FilesError, Video, VideoSource};
use protoguard_frames::pace::Thinning;
use sha2::{Digest, Sha256};

/// Counts changes of what decoding makes of a file, so that frames of before are made anew.
const DECODER: &str = "protoguard frames 1";

/// What the frames of a video depend on: where its files are, how long they are and when they
/// were last written or replaced, which frames are read, and how they are resized.
///
/// Not their contents: hashing those would read everything that the cache spares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity(pub(super) [u8; 32]);

impl Identity {
    pub(super) fn of(video: &Video, side: usize) -> Result<Self, FilesError> {
        let mut hash = Sha256::new();
        hash.update(DECODER);
        hash.update(RESIZER);
        hash.update((side as u64).to_le_bytes());
        match &video.source {
            VideoSource::File(path) => add(&mut hash, path)?,
            VideoSource::Frames(frames) => {
                frames.iter().try_for_each(|path| add(&mut hash, path))?
            }
        }
        match &video.pace.thinning {
            // Nothing is added: frames that were kept before videos could be thinned are these.
            Thinning::All => {}
            Thinning::Every(step) => {
                hash.update("every");
                hash.update(step.get().to_le_bytes());
            }
            Thinning::Marked(marks) => {
                hash.update("marked");
                hash.update(marks.iter().map(|&taken| u8::from(taken)).collect::<Vec<u8>>());
            }
        }
        Ok(Self(hash.finalize().into()))
    }

    /// The name of the file that has the frames.
    pub(super) fn file_name(&self) -> String {
        let hex: String = self.0[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        format!("{hex}.{EXTENSION}")
    }
}

/// Ending of the cache's files.
pub(super) const EXTENSION: &str = "frames";

fn add(hash: &mut Sha256, path: &Path) -> Result<(), FilesError> {
    let at = |source: io::Error| FilesError::Io { path: path.to_owned(), source };
    let full = std::path::absolute(path).map_err(at)?;
    let metadata = fs::metadata(path).map_err(at)?;
    let name = full.as_os_str().as_bytes();
    hash.update((name.len() as u64).to_le_bytes());
    hash.update(name);
    hash.update(metadata.len().to_le_bytes());
    // The second is the time of any change of the entry, which a copy that keeps the first has.
    for time in [metadata.mtime(), metadata.mtime_nsec(), metadata.ctime(), metadata.ctime_nsec()] {
        hash.update(time.to_le_bytes());
    }
    Ok(())
}
