//! Cameras that other people's clients stream.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::clips::{sorted, videos};
use crate::programs::{Finished, tool, workspace};
use crate::real_video::shared;
use crate::server::Server;
use crate::trained::{EvaluatedFrame, PAST_FRAMES, REGION, trained};

const SCORE_STREAM: &str = "protoguard.v1.ScoringService/ScoreStream";
/// Between frames of the drawn scenes, in milliseconds.
const INTERVAL: u64 = 100;
/// Room for another batch size and another order of sums.
const TOLERANCE: f64 = 1e-4;

/// What a stream of every frame of a video answered.
struct Streamed(Vec<Value>);

impl Streamed {
    fn of(messages: impl IntoIterator<Item = Value>, key: &str) -> Vec<Value> {
        messages.into_iter().filter_map(|message| message.get(key).cloned()).collect()
    }

    /// Every frame was answered once, in order: the first ones fill the window, and the others
    /// have the scores that `evaluate` gave them.
    fn assert_evaluated(&self, frames: usize, evaluated: &[&EvaluatedFrame]) {
        let answers = Self::of(self.0.clone(), "frame");
        let ids: Vec<u64> = answers
            .iter()
            // Proto3's JSON leaves a plain zero out, and has 64 bits as text.
            .map(|answer| answer["id"].as_str().map_or(0, |id| id.parse().unwrap()))
            .collect();
        assert_eq!(ids, (0..frames as u64).collect::<Vec<_>>());
        assert_eq!(evaluated.len(), frames - PAST_FRAMES);
        let (filling, scored) = answers.split_at(PAST_FRAMES);
        assert!(filling.iter().all(|answer| answer["outcome"] == "FRAME_OUTCOME_WARMING_UP"));
        for (answer, evaluated) in scored.iter().zip(evaluated) {
            assert_eq!(answer["outcome"], "FRAME_OUTCOME_SCORED");
            let scores = &answer["scores"];
            let mut pairs = vec![
                (&scores["psnrDb"], evaluated.psnr_db),
                (&scores["featureDistance"], evaluated.feature_distance),
                (&scores["surprise"], evaluated.surprise),
                (&answer["smoothedSurprise"], evaluated.smoothed_surprise),
            ];
            for (name, expected) in REGION.into_iter().zip(evaluated.region) {
                pairs.push((&scores["region"][name], expected));
            }
            for (found, expected) in pairs {
                let found = found.as_f64().unwrap_or_default();
                assert!((found - expected).abs() <= TOLERANCE, "{found}: {answer} {evaluated:?}");
            }
        }
    }
}

/// JSON values that follow each other.
fn values(text: &str) -> Vec<Value> {
    serde_json::Deserializer::from_str(text).into_iter().map(Result::unwrap).collect()
}

/// A picture's negative as PNG.
fn negative(path: &Path) -> Vec<u8> {
    let mut picture = image::open(path).unwrap();
    picture.invert();
    let mut png = Cursor::new(Vec::new());
    picture.write_to(&mut png, image::ImageFormat::Png).unwrap();
    png.into_inner()
}

/// A video's frames, then some that flicker between the last one and its negative, then that one.
fn flickering(frames: &[PathBuf]) -> Vec<Vec<u8>> {
    let last = &frames[frames.len() - 1];
    let still = || std::fs::read(last).unwrap();
    let flicker = (0..8).map(|at| if at % 2 == 0 { negative(last) } else { still() });
    let video = frames.iter().map(|path| std::fs::read(path).unwrap());
    video.chain(flicker).chain((0..12).map(|_| still())).collect()
}

#[tokio::test]
async fn grpcurl_streams_a_video_from_a_file_of_lines_and_sees_alarms() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let folder = tempfile::tempdir().unwrap();
    let lines = folder.path().join("camera.jsonl");
    let frames = sorted(&videos(&trained.data)[0]);
    // So often that a model of a minute's training raises it.
    let alarm = json!({ "falseAlarmsAnHour": 1e6, "unusualFrames": 1, "amongFrames": 1 });
    let opening = json!({
        "camera": "door",
        "mode": "STREAM_MODE_LOSSLESS",
        "alarm": alarm,
        "frameIntervalMs": INTERVAL,
    });
    let mut text = json!({ "opening": opening }).to_string();
    for (index, picture) in flickering(&frames).iter().enumerate() {
        let frame = json!({
            "id": index,
            "captureTimeUs": 1000 * INTERVAL * index as u64,
            "encoded": STANDARD.encode(picture),
        });
        text += &format!("\n{}", json!({ "frame": frame }));
    }
    std::fs::write(&lines, text).unwrap();
    let mut grpcurl = tool("grpcurl");
    grpcurl.args(["-plaintext", "-d", "@", &server.address, SCORE_STREAM]);
    grpcurl.stdin(Stdio::from(File::open(&lines).unwrap()));
    let messages = values(&Finished::of(grpcurl).await.success());
    let opened = &messages[0]["opened"];
    assert_eq!(opened["pastFrames"], PAST_FRAMES);
    let answers = Streamed::of(messages.clone(), "frame");
    assert_eq!(answers.len(), frames.len() + 20);

    // The alarm stands where the smoothed surprise is above the threshold, and for three frames
    // after; every alarm has one start and one end.
    let threshold = opened["alarmThreshold"].as_f64().unwrap();
    let above: Vec<bool> = answers
        .iter()
        .map(|answer| answer["smoothedSurprise"].as_f64().is_some_and(|it| it > threshold))
        .collect();
    let surprises = answers.iter().map(|answer| answer["smoothedSurprise"].as_f64());
    let surprises: Vec<f64> = surprises.map(Option::unwrap_or_default).collect();
    assert!(above.contains(&true), "none is above {threshold}: {surprises:?}");
    let told = answers.iter().map(|answer| answer["alarm"].as_bool().unwrap_or_default());
    let told: Vec<bool> = told.collect();
    let stands: Vec<bool> = (0..above.len())
        .map(|at| above[at.saturating_sub(3)..=at].iter().any(|&above| above))
        .collect();
    assert_eq!(told, stands);
    let mut lives: BTreeMap<String, Vec<String>> = BTreeMap::new();
    for event in Streamed::of(messages, "alarm") {
        assert_eq!(event["camera"], "door");
        let [id, change] = ["id", "change"].map(|key| event[key].as_str().unwrap().to_owned());
        lives.entry(id).or_default().push(change);
    }
    assert!(!lives.is_empty());
    for changes in lives.values() {
        assert_eq!(changes[0], "ALARM_CHANGE_STARTED");
        assert_eq!(changes[changes.len() - 1], "ALARM_CHANGE_ENDED");
        assert!(changes[1..changes.len() - 1].iter().all(|it| it == "ALARM_CHANGE_UPDATED"));
    }
}

/// Streams folders by the Python client, each under its name.
async fn python(server: &Server, folders: &[PathBuf]) -> BTreeMap<String, Streamed> {
    let mut python = tool("python");
    python.arg(workspace().join("tests/python/stream_frames.py"));
    python.arg(workspace().join("proto")).arg(&server.address).arg(INTERVAL.to_string());
    python.args(folders);
    let mut streams = BTreeMap::new();
    for line in values(&Finished::of(python).await.success()) {
        let folder = line["folder"].as_str().unwrap().to_owned();
        if let Some(message) = line.get("message") {
            streams.entry(folder).or_insert_with(|| Streamed(Vec::new())).0.push(message.clone());
        } else {
            assert_eq!(line["code"], "OK", "{line}");
        }
    }
    streams
}

#[tokio::test]
async fn python_streams_cameras_at_once_and_gets_the_scores_of_evaluate() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let folders = videos(&trained.data);
    let streams = python(&server, &folders).await;
    assert_eq!(streams.len(), folders.len());
    for folder in &folders {
        let name = name_of(folder);
        let evaluated: Vec<&EvaluatedFrame> = trained
            .frames
            .iter()
            .filter(|frame| name_of(Path::new(&frame.video)) == name)
            .collect();
        streams[&name].assert_evaluated(sorted(folder).len(), &evaluated);
    }
}

fn name_of(path: &Path) -> String {
    path.file_name().unwrap().to_str().unwrap().to_owned()
}

/// Real video is of another scene than the model's; what counts here is that it comes through.
#[tokio::test]
async fn python_streams_ped2s_test_videos() {
    let Some(ped2) = shared("ped2/testing/frames") else { return };
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let folders = sorted(&ped2);
    let streams = python(&server, &folders).await;
    assert_eq!(streams.len(), folders.len());
    for folder in &folders {
        let answers = Streamed::of(streams[&name_of(folder)].0.clone(), "frame");
        assert_eq!(answers.len(), sorted(folder).len());
        let (filling, scored) = answers.split_at(PAST_FRAMES);
        assert!(filling.iter().all(|answer| answer["outcome"] == "FRAME_OUTCOME_WARMING_UP"));
        assert!(scored.iter().all(|answer| answer["outcome"] == "FRAME_OUTCOME_SCORED"));
    }
}
