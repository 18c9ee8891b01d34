//! What a run says of itself while it runs: JSON lines for programs, TensorBoard for people.
//!
//! A log that cannot be written any more is warned of once and does not end the run.

mod board;
mod json_lines;
mod picture;
mod record;

use std::io;
use std::path::{Path, PathBuf};

use protoguard_core::Clip;
use protoguard_model::Network;

pub use board::Board;
pub use json_lines::JsonLines;
pub use picture::Picture;
pub(crate) use record::resident_mib;
pub use record::{Record, RunRecord, StepRecord};

use crate::train::EpochRecord;

/// Where the records of a run go.
#[derive(Debug, Default)]
pub struct RunLog {
    lines: Option<JsonLines>,
    board: Option<Board>,
}

impl RunLog {
    /// Records go to both, where they are given.
    pub fn new(lines: Option<JsonLines>, board: Option<Board>) -> Self {
        Self { lines, board }
    }

    /// Writes one record; `step` counts the run's steps.
    pub fn write(&mut self, step: u64, record: &Record<'_>) {
        keep_or_drop(&mut self.lines, "the log", |lines| lines.write(record));
        keep_or_drop(&mut self.board, "the event file", |board| board.write(step, record));
    }

    /// Shows what the network makes of some held-out clips.
    pub fn show(&mut self, step: u64, network: &Network, clips: &[Clip]) {
        keep_or_drop(&mut self.board, "the event file", |board| {
            for (index, clip) in clips.iter().enumerate() {
                let picture = Picture::of(network, clip).map_err(io::Error::other)?;
                board.picture(step, &format!("held_out/{index}"), &picture)?;
            }
            Ok(())
        });
    }

    /// The end of an epoch, and what is wrong with its memory.
    pub fn epoch(&mut self, step: u64, record: &EpochRecord) {
        self.write(step, &Record::Epoch(record));
        let warning = record.memory.as_ref().and_then(|memory| memory.warning());
        if let Some(message) = &warning {
            tracing::warn!("{message}");
            self.write(step, &Record::Warning { message });
        }
    }

    /// Length of the JSON lines so far, for [`JsonLines::resume`].
    pub fn bytes(&self) -> Option<u64> {
        self.lines.as_ref().and_then(JsonLines::bytes)
    }
}

fn keep_or_drop<T>(sink: &mut Option<T>, name: &str, write: impl FnOnce(&mut T) -> io::Result<()>) {
    let Some(open) = sink else { return };
    if let Err(error) = write(open) {
        tracing::warn!(%error, "{name} cannot be written any more; the run goes on without");
        *sink = None;
    }
}

/// Where the JSON lines of a run go unless another place is named: beside its checkpoint.
pub fn path_for(checkpoint: &Path) -> PathBuf {
    let mut name = checkpoint.file_name().unwrap_or_default().to_owned();
    name.push(".log.jsonl");
    checkpoint.with_file_name(name)
}
