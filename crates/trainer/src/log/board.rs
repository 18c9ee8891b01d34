//! TensorBoard's event files: TFRecords of `Event` messages.
//!
//! The few messages that are needed are written down here with their published field numbers.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

use prost::Message;

use super::picture::Picture;
use super::record::Record;

/// An event file that is being written.
#[derive(Debug)]
pub struct Board {
    file: File,
}

#[derive(Clone, PartialEq, Message)]
struct Event {
    #[prost(double, tag = "1")]
    wall_time: f64,
    #[prost(int64, tag = "2")]
    step: i64,
    #[prost(string, optional, tag = "3")]
    file_version: Option<String>,
    #[prost(message, optional, tag = "5")]
    summary: Option<Summary>,
    #[prost(message, optional, tag = "7")]
    session_log: Option<SessionLog>,
}

#[derive(Clone, PartialEq, Message)]
struct SessionLog {
    #[prost(int32, tag = "1")]
    status: i32,
}

#[derive(Clone, PartialEq, Message)]
struct Summary {
    #[prost(message, repeated, tag = "1")]
    values: Vec<SummaryValue>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryValue {
    #[prost(string, tag = "1")]
    tag: String,
    #[prost(float, optional, tag = "2")]
    simple_value: Option<f32>,
    #[prost(message, optional, tag = "4")]
    image: Option<SummaryImage>,
}

#[derive(Clone, PartialEq, Message)]
struct SummaryImage {
    #[prost(int32, tag = "1")]
    height: i32,
    #[prost(int32, tag = "2")]
    width: i32,
    /// 3 is RGB.
    #[prost(int32, tag = "3")]
    colour_space: i32,
    #[prost(bytes = "vec", tag = "4")]
    encoded: Vec<u8>,
}

/// `SessionLog.START`: a reader forgets what lies at later steps in older files of the folder.
const SESSION_START: i32 = 1;

impl Board {
    /// A new event file in `folder`, which is made where it is missing. A run that goes on at
    /// `from_step` takes the place of what an older file says of later steps.
    ///
    /// # Errors
    /// The system's.
    pub fn create(folder: &Path, from_step: u64) -> io::Result<Self> {
        fs::create_dir_all(folder)?;
        let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_nanos());
        let (seconds, rest) = (now / 1_000_000_000, now % 1_000_000_000);
        let process = std::process::id();
        let name = format!("events.out.tfevents.{seconds:010}.protoguard.{process}.{rest:09}");
        let mut board = Self { file: File::create_new(folder.join(name))? };
        board.put(Event { file_version: Some("brain.Event:2".to_owned()), ..event(0) })?;
        if from_step > 0 {
            let session_log = Some(SessionLog { status: SESSION_START });
            board.put(Event { session_log, ..event(from_step + 1) })?;
        }
        Ok(board)
    }

    /// Adds the numbers of a record, where it has some.
    ///
    /// # Errors
    /// The system's, such as a full disk.
    pub fn write(&mut self, step: u64, record: &Record<'_>) -> io::Result<()> {
        let values: Vec<SummaryValue> = scalars(record)
            .into_iter()
            .map(|scalar| SummaryValue {
                tag: scalar.tag.to_owned(),
                simple_value: Some(scalar.value as f32),
                image: None,
            })
            .collect();
        if values.is_empty() {
            return Ok(());
        }
        self.put(Event { summary: Some(Summary { values }), ..event(step) })
    }

    /// Adds a picture.
    ///
    /// # Errors
    /// The system's.
    pub fn picture(&mut self, step: u64, tag: &str, picture: &Picture) -> io::Result<()> {
        let image = Some(SummaryImage {
            height: picture.height as i32,
            width: picture.width as i32,
            colour_space: 3,
            encoded: picture.to_png().map_err(io::Error::other)?,
        });
        let values = vec![SummaryValue { tag: tag.to_owned(), simple_value: None, image }];
        self.put(Event { summary: Some(Summary { values }), ..event(step) })
    }

    fn put(&mut self, event: Event) -> io::Result<()> {
        self.file.write_all(&tf_record(&event.encode_to_vec()))
    }
}

fn event(step: u64) -> Event {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    let wall_time = since.map_or(0.0, |since| since.as_secs_f64());
    Event { wall_time, step: step as i64, ..Event::default() }
}

struct Scalar {
    tag: &'static str,
    value: f64,
}

fn scalars(record: &Record<'_>) -> Vec<Scalar> {
    let scalar = |tag, value| Some(Scalar { tag, value });
    let values = match record {
        Record::Step(step) => vec![
            scalar("loss/total", step.losses.total),
            scalar("loss/prediction", step.losses.prediction),
            step.losses.difference.and_then(|loss| scalar("loss/difference", loss)),
            step.losses.difference_zero.and_then(|loss| scalar("loss/difference_zero", loss)),
            step.losses.gradient.and_then(|loss| scalar("loss/gradient", loss)),
            step.losses.discriminative.and_then(|loss| scalar("loss/discriminative", loss)),
            step.losses.commitment.and_then(|loss| scalar("loss/commitment", loss)),
            step.losses.separation.and_then(|loss| scalar("loss/separation", loss)),
            scalar("learning_rate", step.learning_rate),
            scalar("speed/step_seconds", step.seconds),
            scalar("speed/waiting_seconds", step.waiting_seconds),
            scalar("resident_mib", step.resident_mib),
        ],
        Record::Epoch(epoch) => {
            let memory = epoch.memory.as_ref();
            let of = |tag, value: Option<f64>| value.and_then(|value| scalar(tag, value));
            vec![
                scalar("epoch/loss", epoch.training.losses.total),
                scalar("held_out/psnr_db", epoch.held_out_psnr_db),
                of("held_out/motion_loss_vs_zero", epoch.motion_loss_vs_zero),
                of("memory/items_in_use", memory.map(|m| m.items_in_use as f64)),
                of("memory/perplexity", memory.map(|m| m.perplexity)),
                of("memory/largest_count", memory.map(|m| m.largest_count as f64)),
                of("memory/mean_pairwise_cosine", memory.map(|m| m.mean_pairwise_cosine)),
                of("memory/within_trace", memory.map(|m| m.within_trace)),
                of("memory/between_trace", memory.map(|m| m.between_trace)),
            ]
        }
        _ => Vec::new(),
    };
    values.into_iter().flatten().collect()
}

/// Length, its checksum, the data, its checksum.
fn tf_record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(data.len() + 16);
    record.extend_from_slice(&length);
    record.extend_from_slice(&masked_crc32c(&length).to_le_bytes());
    record.extend_from_slice(data);
    record.extend_from_slice(&masked_crc32c(data).to_le_bytes());
    record
}

/// TFRecords rotate the checksum and add a constant, so that a checksum of data that contains
/// checksums is no fixed point.
fn masked_crc32c(data: &[u8]) -> u32 {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8)
}

/// Castagnoli's CRC, bits reflected.
fn crc32c(data: &[u8]) -> u32 {
    const TABLE: [u32; 256] = {
        let mut table = [0u32; 256];
        let mut byte = 0;
        while byte < 256 {
            let mut value = byte as u32;
            let mut bit = 0;
            while bit < 8 {
                value = (value >> 1) ^ (0x82f6_3b78 * (value & 1));
                bit += 1;
            }
            table[byte] = value;
            byte += 1;
        }
        table
    };
    let step = |crc: u32, byte: &u8| (crc >> 8) ^ TABLE[((crc ^ u32::from(*byte)) & 255) as usize];
    !data.iter().fold(!0, step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn checksums_are_the_published_ones() {
        // RFC 3720, B.4.
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        assert_eq!(crc32c(b"123456789"), 0xe306_9283);
    }

    #[test]
    fn a_record_frames_its_data() {
        let record = tf_record(b"abc");
        assert_eq!(record.len(), 8 + 4 + 3 + 4);
        assert_eq!(&record[..8], &3u64.to_le_bytes());
        assert_eq!(&record[12..15], b"abc");
    }
}
