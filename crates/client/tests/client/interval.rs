//! Video at the interval of a model.

use std::path::Path;
use std::process::Command;

use serde_json::Value;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

use crate::command::{labels, refusal, score, videos};
use crate::server::{Answer, Fixture};

/// The numbers of the scored frames, and of the abnormal ones among them.
fn scored(output: &std::process::Output) -> (Vec<u64>, Vec<u64>) {
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let frames = lines.iter().filter(|line| line["frame"].is_u64());
    let number = |line: &Value| line["frame"].as_u64().unwrap();
    let abnormal = frames.clone().filter(|line| line["label"] == true).map(number).collect();
    (frames.map(number).collect(), abnormal)
}

#[tokio::test]
async fn folders_of_frames_are_thinned_to_the_model() {
    let fixture = Fixture::start([]).await;
    let root = videos(20);
    let labels = labels(root.path(), 20);
    let folder = root.path().join("frames/01");
    let more = ["--model", "timed", "--fps", "20", "--format", "jsonl", "--labels", &labels];
    let output = score(&fixture, &folder, &more).await;
    // Every second frame, by its own number, with its own label: 10 to 14 are abnormal.
    let frames: Vec<u64> = (8..20).step_by(2).collect();
    assert_eq!(scored(&output), (frames, vec![10, 12, 14]));
    assert_eq!(*fixture.script.intervals.lock().unwrap(), [100.0; 6]);
    // Without a rate frames are taken as the model's, and nothing is said of them.
    let output = score(&fixture, &folder, &["--model", "timed", "--format", "jsonl"]).await;
    assert_eq!(scored(&output).0, (4..20).collect::<Vec<u64>>());
    assert_eq!(fixture.script.intervals.lock().unwrap()[6..], [0.0; 16]);
}

#[tokio::test]
async fn video_files_tell_their_interval() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().join("camera.mkv");
    let drawn = Command::new("ffmpeg")
        .args(["-nostdin", "-v", "error", "-f", "lavfi", "-i", "testsrc=size=64x48:rate=25"])
        .args(["-frames:v", "24", "-c:v", "ffv1"])
        .arg(&path)
        .status();
    match drawn {
        Ok(status) => assert!(status.success()),
        Err(_) => {
            println!("skipped: the program ffmpeg is not installed");
            return;
        }
    }
    let fixture = Fixture::start([]).await;
    let output = score(&fixture, &path, &["--model", "timed", "--format", "jsonl"]).await;
    assert_eq!(scored(&output).0, [12, 15, 18, 21]);
    assert_eq!(*fixture.script.intervals.lock().unwrap(), [120.0; 4]);
    // A model that does not say what it learnt takes every frame.
    let output = score(&fixture, &path, &["--format", "jsonl"]).await;
    assert_eq!(scored(&output).0, (4..24).collect::<Vec<u64>>());
    assert_eq!(fixture.script.intervals.lock().unwrap()[4..], [40.0; 20]);
}

#[tokio::test]
async fn an_interval_that_does_not_suit_is_refused_here_or_there() {
    let description = "is 40 ms, and model `hall` learnt frames 100 ms apart";
    let details = ErrorDetails::with_bad_request_violation("frame_interval_ms", description);
    let message = format!("frame_interval_ms {description}");
    let refused = Status::with_error_details(Code::InvalidArgument, message, details);
    let fixture = Fixture::start([Answer::Refuse(refused)]).await;
    let root = videos(20);
    let folder: &Path = &root.path().join("frames/01");
    let (line, code) = refusal(&score(&fixture, folder, &["--model", "timed", "--fps", "4"]).await);
    assert!(line.contains("frames/01") && line.contains("is 250.0 ms"), "{line}");
    assert!(line.contains("the model's is 100.0 ms"), "{line}");
    assert_eq!((code, fixture.seen()), (Some(1), 0));
    let (line, code) = refusal(&score(&fixture, folder, &["--concurrency", "1"]).await);
    assert!(
        line.ends_with(&format!("INVALID_ARGUMENT: frame_interval_ms {description}")),
        "{line}"
    );
    assert_eq!(code, Some(1));
    let (line, code) = refusal(&score(&fixture, folder, &["--fps", "0"]).await);
    assert!(line.contains("above 0, at most 1000"), "{line}");
    assert_eq!(code, Some(2));
}
