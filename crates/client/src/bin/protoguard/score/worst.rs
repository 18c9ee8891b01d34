//! The most anomalous frames, and what the model saw in them.

use std::cmp::Ordering;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context;
use protoguard_client::Client;
use protoguard_core::Plane;
use protoguard_proto::v1;

use super::clips::{Packing, ReadClip};
use super::record::FrameRecord;
use super::source::Source;
use crate::picture::{panel, save};

/// Frames of one video that are nearer than this show the same event.
const APART: usize = 10;

/// Positions of up to `count` of the most anomalous records, worst first: spread over the videos
/// as far as that many can be, and never next to each other.
pub(crate) fn most_anomalous(records: &[FrameRecord], count: usize) -> Vec<usize> {
    let mut order: Vec<usize> = (0..records.len()).collect();
    order.sort_by(|&a, &b| by_anomaly(&records[a], &records[b]));
    let videos: BTreeSet<usize> = records.iter().map(|record| record.video_index).collect();
    let share = count.div_ceil(videos.len().max(1));
    let mut chosen: Vec<usize> = Vec::new();
    for limit in [share, count] {
        for &index in &order {
            let record = &records[index];
            let same_video: Vec<&FrameRecord> = chosen
                .iter()
                .map(|&other| &records[other])
                .filter(|other| other.video_index == record.video_index)
                .collect();
            let near = same_video.iter().any(|other| other.frame.abs_diff(record.frame) < APART);
            if chosen.len() < count && same_video.len() < limit && !near {
                chosen.push(index);
            }
        }
    }
    chosen.sort_by(|&a, &b| by_anomaly(&records[a], &records[b]));
    chosen
}

/// Anomaly scores saturate at 1, and a model may have no calibration: PSNR decides then.
fn by_anomaly(a: &FrameRecord, b: &FrameRecord) -> Ordering {
    let score = |record: &FrameRecord| record.served().unwrap_or(0.0);
    score(b).total_cmp(&score(a)).then(a.psnr_db.total_cmp(&b.psnr_db))
}

/// Asks for pictures of clips and draws them.
pub(crate) struct WorstFrames<'a, T> {
    pub(crate) client: &'a Client,
    pub(crate) sources: Arc<Vec<Source>>,
    pub(crate) packing: Packing,
    /// Every request of a video but its clip.
    pub(crate) template: T,
    pub(crate) folder: &'a Path,
}

impl<T: Fn(usize) -> v1::ScoreClipRequest> WorstFrames<'_, T> {
    /// Writes one panel for each of the `count` most anomalous records and gives their paths,
    /// worst first.
    pub(crate) async fn draw(
        &self,
        records: &[FrameRecord],
        count: usize,
    ) -> anyhow::Result<Vec<PathBuf>> {
        fs::create_dir_all(self.folder)
            .with_context(|| format!("cannot create {}", self.folder.display()))?;
        let mut paths = Vec::new();
        for (rank, index) in most_anomalous(records, count).into_iter().enumerate() {
            let record = &records[index];
            let clip = self.read_again(record).await?;
            let response = self.client.score_clip(self.full_request(record, &clip)).await?;
            let picture = panel::draw(&panel::Panel {
                title: title(record),
                region: record.region,
                clip: &clip.clip,
                predicted: response.predicted_frame.map(plane).transpose()?,
                error: response.error_map.map(plane).transpose()?,
                difference: response.rgb_differences.into_iter().next().map(plane).transpose()?,
            })?;
            let name = format!(
                "{:02}_{}_frame_{:04}.png",
                rank + 1,
                file_name(&record.video),
                record.frame
            );
            let path = self.folder.join(name);
            save(&picture, &path)?;
            paths.push(path);
        }
        Ok(paths)
    }

    fn full_request(&self, record: &FrameRecord, clip: &ReadClip) -> v1::ScoreClipRequest {
        v1::ScoreClipRequest {
            clip: Some(clip.wire.clone()),
            view: v1::View::Full.into(),
            image_encoding: v1::ImageEncoding::RawF32.into(),
            ..(self.template)(record.video_index)
        }
    }

    /// Clips are not kept while a video is scored: the few that are drawn are read again.
    async fn read_again(&self, record: &FrameRecord) -> anyhow::Result<ReadClip> {
        let (sources, packing) = (Arc::clone(&self.sources), self.packing);
        let (video, frame) = (record.video_index, record.frame);
        tokio::task::spawn_blocking(move || {
            let mut found = None;
            packing.for_each_clip(&sources[video], |clip| {
                if clip.frame == frame {
                    found = Some(clip);
                }
                Ok(found.is_none())
            })?;
            let name = sources[video].name();
            found
                .with_context(|| format!("video {name} has lost frame {frame} since it was scored"))
        })
        .await?
    }
}

fn title(record: &FrameRecord) -> String {
    let mut title = format!("video {}, frame {}: ", record.video, record.frame);
    if let Some(surprise) = record.smoothed_surprise {
        let why = record.why().map(|part| format!(" ({part})")).unwrap_or_default();
        title.push_str(&format!("surprise {surprise:.2}{why}, "));
    } else if let Some(score) = record.anomaly_score {
        title.push_str(&format!("anomaly {score:.3}, "));
    }
    title.push_str(&format!("PSNR {:.2} dB", record.psnr_db));
    if let Some(distance) = record.feature_distance {
        title.push_str(&format!(", distance {distance:.3}"));
    }
    match record.label {
        Some(true) => title.push_str(", abnormal in truth"),
        Some(false) => title.push_str(", normal in truth"),
        None => {}
    }
    title
}

/// A video's name without what a file name cannot hold.
fn file_name(video: &str) -> String {
    video.chars().map(|c| if c.is_alphanumeric() || "-_.".contains(c) { c } else { '_' }).collect()
}

/// A picture of little-endian floats.
fn plane(image: v1::Image) -> anyhow::Result<Plane> {
    let values: Vec<f32> = image
        .data
        .chunks_exact(size_of::<f32>())
        .map(|bytes| f32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]))
        .collect();
    let (height, width, channels) =
        (image.height as usize, image.width as usize, image.channels as usize);
    let expected = height.saturating_mul(width).saturating_mul(channels);
    if values.len() != expected || image.data.len() != expected * size_of::<f32>() {
        anyhow::bail!(
            "server answered a picture of {height}x{width}x{channels} with {} bytes; 4 a value are expected",
            image.data.len()
        );
    }
    Ok(Plane { height, width, channels, values: values.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(video_index: usize, frame: usize, anomaly: f64) -> FrameRecord {
        let video = format!("0{video_index}");
        FrameRecord {
            video,
            video_index,
            frame,
            anomaly_score: Some(anomaly),
            ..Default::default()
        }
    }

    #[test]
    fn neighbours_of_a_chosen_frame_are_left_out() {
        let records: Vec<FrameRecord> =
            (0..40).map(|frame| record(0, frame, 1.0 - frame as f64 / 100.0)).collect();
        assert_eq!(most_anomalous(&records, 3), [0, 10, 20]);
    }

    #[test]
    fn every_video_has_its_share_and_what_is_left_goes_to_the_worst() {
        let mut records: Vec<FrameRecord> = (0..5).map(|i| record(0, i * 20, 0.9)).collect();
        records.push(record(1, 4, 0.1));
        let chosen = most_anomalous(&records, 4);
        assert_eq!(chosen.len(), 4);
        assert_eq!(chosen.iter().filter(|&&i| records[i].video_index == 1).count(), 1);
        assert_eq!(chosen.last(), Some(&5));
        assert_eq!(most_anomalous(&[], 4), Vec::<usize>::new());
    }

    #[test]
    fn saturated_scores_are_ordered_by_psnr() {
        let with = |frame: usize, psnr_db: f64| FrameRecord { psnr_db, ..record(0, frame, 1.0) };
        assert_eq!(most_anomalous(&[with(0, 30.0), with(20, 20.0)], 1), [1]);
    }

    #[test]
    fn a_picture_of_the_wrong_length_is_refused() {
        let image = v1::Image {
            data: vec![0; 15].into(),
            height: 2,
            width: 2,
            channels: 1,
            ..Default::default()
        };
        let error = plane(image).unwrap_err().to_string();
        assert!(error.contains("2x2x1") && error.contains("15 bytes"), "{error}");
    }

    #[test]
    fn names_stay_in_their_folder() {
        assert_eq!(file_name("../a b/c.mp4"), ".._a_b_c.mp4");
    }
}
