use std::fs::File;
use std::io::{self, Seek, SeekFrom, Write};
use std::path::Path;

use super::record::Record;

/// A file, or standard output, that takes one JSON object a line as it comes.
#[derive(Debug)]
pub struct JsonLines {
    sink: Sink,
}

#[derive(Debug)]
enum Sink {
    File(File),
    Stdout,
}

impl JsonLines {
    /// Standard output.
    pub fn stdout() -> Self {
        Self { sink: Sink::Stdout }
    }

    /// A new file in place of what is there.
    ///
    /// # Errors
    /// The system's.
    pub fn create(path: &Path) -> io::Result<Self> {
        Ok(Self { sink: Sink::File(File::create(path)?) })
    }

    /// The file cut back to its first `bytes`, so that what a killed process wrote after its last
    /// state is not there twice.
    ///
    /// # Errors
    /// The system's.
    pub fn resume(path: &Path, bytes: u64) -> io::Result<Self> {
        let mut file = File::options().create(true).truncate(false).write(true).open(path)?;
        if file.metadata()?.len() > bytes {
            file.set_len(bytes)?;
        }
        file.seek(SeekFrom::End(0))?;
        Ok(Self { sink: Sink::File(file) })
    }

    /// Adds a line. The reader sees it at once.
    ///
    /// # Errors
    /// The system's, such as a full disk.
    pub fn write(&mut self, record: &Record<'_>) -> io::Result<()> {
        let mut line = serde_json::to_vec(record)?;
        line.push(b'\n');
        match &mut self.sink {
            Sink::File(file) => file.write_all(&line),
            Sink::Stdout => {
                let mut stdout = io::stdout().lock();
                stdout.write_all(&line)?;
                stdout.flush()
            }
        }
    }

    /// Length of the file; nothing for standard output.
    pub fn bytes(&self) -> Option<u64> {
        match &self.sink {
            Sink::File(file) => file.metadata().ok().map(|metadata| metadata.len()),
            Sink::Stdout => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_resumed_log_goes_on_where_the_state_was() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log.jsonl");
        let mut lines = JsonLines::create(&path).unwrap();
        lines.write(&Record::Saving { step: 1 }).unwrap();
        let kept = lines.bytes().unwrap();
        lines.write(&Record::Saving { step: 2 }).unwrap();
        let mut resumed = JsonLines::resume(&path, kept).unwrap();
        resumed.write(&Record::Saving { step: 3 }).unwrap();
        let text = std::fs::read_to_string(&path).unwrap();
        assert_eq!(text, "{\"event\":\"saving\",\"step\":1}\n{\"event\":\"saving\",\"step\":3}\n");
    }
}
