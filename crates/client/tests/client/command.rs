//! The `protoguard` command.

use std::fs;
use std::path::Path;
use std::process::{Output, Stdio};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use tonic::Status;

use crate::server::{Answer, Fixture, regularity, surprise_sum};

fn protoguard() -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_protoguard"));
    command.env_remove("PROTOGUARD_ADDRESS").stdin(Stdio::null()).kill_on_drop(true);
    command
}

async fn run(arguments: &[&str]) -> Output {
    protoguard().args(arguments).output().await.unwrap()
}

pub(crate) async fn score(fixture: &Fixture, folder: &Path, more: &[&str]) -> Output {
    let mut command = protoguard();
    command.arg("score").arg(folder).args(["--address", &fixture.address]).args(more);
    command.output().await.unwrap()
}

/// What is printed on failure: one line, and the exit code.
pub(crate) fn refusal(output: &Output) -> (String, Option<i32>) {
    let text = String::from_utf8(output.stderr.clone()).unwrap();
    assert_eq!(text.lines().count(), 1, "{text}");
    assert!(output.stdout.is_empty(), "{:?}", output.stdout);
    (text.trim_end().to_owned(), output.status.code())
}

/// Two videos of `frames` frames each: a square that moves over a gradient.
pub(crate) fn videos(frames: u32) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for video in ["01", "02"] {
        let folder = root.path().join("frames").join(video);
        fs::create_dir_all(&folder).unwrap();
        for frame in 0..frames {
            let picture = image::RgbImage::from_fn(96, 48, |x, y| {
                let inside = x.abs_diff(frame * 3) < 8 && y.abs_diff(24) < 8;
                if inside { image::Rgb([220, 40, 40]) } else { image::Rgb([x as u8, 90, y as u8]) }
            });
            picture.save(folder.join(format!("{frame}.png"))).unwrap();
        }
    }
    root
}

/// Writes labels of 40 frames as an npy file of version 1.0: 10 to 14 of the first video are
/// abnormal.
pub(crate) fn labels(folder: &Path, frames: usize) -> String {
    let mut header = format!("{{'descr': '|u1', 'fortran_order': False, 'shape': ({frames},), }}");
    while (10 + header.len() + 1) % 64 != 0 {
        header.push(' ');
    }
    header.push('\n');
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((header.len() as u16).to_le_bytes());
    bytes.extend(header.as_bytes());
    bytes.extend((0..frames).map(|frame| u8::from((10..15).contains(&frame))));
    let path = folder.join("labels.npy");
    fs::write(&path, bytes).unwrap();
    path.to_str().unwrap().to_owned()
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<String> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[tokio::test]
async fn folders_to_json_lines_and_pictures() {
    let fixture = Fixture::start([]).await;
    let root = videos(20);
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let labels = labels(root.path(), 40);
    let output = score(
        &fixture,
        &root.path().join("frames"),
        &[
            "--labels",
            &labels,
            "--format",
            "jsonl",
            "--output",
            &path("scores.jsonl"),
            "--picture",
            &path("curve.png"),
            "--worst",
            "2",
            "--worst-dir",
            &path("worst"),
        ],
    )
    .await;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
    assert!(output.stdout.is_empty());

    let text = fs::read_to_string(path("scores.jsonl")).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    let order: Vec<(String, u64)> = lines
        .iter()
        .map(|line| (line["video"].as_str().unwrap().into(), line["frame"].as_u64().unwrap()))
        .collect();
    let expected: Vec<(String, u64)> = ["01", "02"]
        .iter()
        .flat_map(|video| (4..20).map(|frame| ((*video).to_owned(), frame)))
        .collect();
    assert_eq!(order, expected);
    let line = &lines[8];
    assert_eq!((line["frame"].as_u64(), line["label"].as_bool()), (Some(12), Some(true)));
    assert_eq!(line["regularity"].as_f64(), Some(regularity(12)));
    assert_eq!(line["anomaly_score"].as_f64(), Some(1.0 - regularity(12)));
    assert_eq!((line["anomalous"].as_bool(), line["batch_size"].as_u64()), (Some(true), Some(2)));
    assert_eq!(line["compute_ms"].as_f64(), Some(3.0));
    assert!(line["copy_frame_psnr_db"].as_f64().unwrap() > 10.0);

    // Five abnormal frames of 32; the second video's five look alike and are normal in truth.
    assert_eq!(summary["clips_scored"], 32);
    assert_eq!((&summary["videos"], &summary["frames"]), (&2.into(), &40.into()));
    assert_eq!(summary["anomalous"], 10);
    let aucs = &summary["auc"];
    assert_eq!((&aucs["abnormal_frames"], &aucs["normal_frames"]), (&5.into(), &27.into()));
    let tied = 1.0 - 0.5 * 5.0 / 27.0;
    for name in ["served", "video", "psnr", "feature_distance"] {
        assert!((aucs[name].as_f64().unwrap() - tied).abs() < 1e-12, "{name}: {aucs}");
    }
    assert!(aucs["copy_frame"].is_f64() && summary["p95_ms"].as_f64() > summary["p50_ms"].as_f64());

    let curve = image::open(path("curve.png")).unwrap();
    assert_eq!(curve.width(), 1280);
    let worst = names(&out.path().join("worst"));
    assert_eq!(worst, ["01_01_frame_0010.png", "02_02_frame_0010.png"]);
    let panel = image::open(out.path().join("worst").join(&worst[0])).unwrap();
    assert!(panel.width() > 3 * 256);
    assert_eq!(names(out.path()), ["curve.png", "scores.jsonl", "worst"]);
}

#[tokio::test]
async fn surprises_are_smoothed_in_the_order_of_frames_by_video() {
    // Answers that come late must not change the order.
    let fixture = Fixture::start([]).await;
    let root = videos(20);
    let out = tempfile::tempdir().unwrap();
    let path = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let labels = labels(root.path(), 40);
    let (scores, curve, worst) = (path("scores.jsonl"), path("curve.png"), path("worst"));
    let mut more = vec!["--model", "surprised", "--labels", &labels, "--format", "jsonl"];
    more.extend(["--output", &scores, "--picture", &curve, "--worst", "1", "--worst-dir", &worst]);
    let output = score(&fixture, &root.path().join("frames"), &more).await;
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");

    let text = fs::read_to_string(&scores).unwrap();
    let mut lines: Vec<Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let summary = lines.pop().unwrap()["summary"].take();
    let mut smoothed = None;
    for line in &lines {
        let frame = line["frame"].as_u64().unwrap() as usize;
        let last = smoothed.filter(|_| frame > 4);
        let sum = surprise_sum(frame);
        let expected = last.map_or(sum, |last| 0.5 * last + 0.5 * sum);
        let found = line["smoothed_surprise"].as_f64().unwrap();
        assert!((found - expected).abs() < 1e-12, "{line}: {expected} is expected");
        assert_eq!(line["surprise"].as_f64(), Some(sum));
        assert_eq!(line["anomalous"].as_bool(), Some(expected > 2.0), "{line}");
        assert_eq!(line["parts"]["speed"].as_f64(), Some(0.8 * sum));
        assert_eq!(line["region"]["bottom"].as_f64(), Some(0.75));
        smoothed = Some(expected);
    }
    // After frame 14 the smoothed sum falls 4.875, 2.9375, 1.96875: two videos of 6 alarms.
    assert_eq!(
        (&summary["served"], &summary["anomalous"]),
        (&"smoothed_surprise".into(), &12.into())
    );
    let rates = &summary["at_threshold"];
    assert_eq!(rates["true_positive_rate"].as_f64(), Some(1.0));
    assert_eq!(rates["false_positive_rate"].as_f64(), Some(7.0 / 27.0));
    assert_eq!(image::open(&curve).unwrap().width(), 1280);
    assert_eq!(names(&out.path().join("worst")), ["01_01_frame_0014.png"]);
}

#[tokio::test]
async fn a_folder_of_frames_to_a_table() {
    let fixture = Fixture::start([]).await;
    let root = videos(20);
    let output = score(&fixture, &root.path().join("frames/01"), &["--payload", "raw"]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(output.status.success(), "{text}");
    assert!(text.contains("most anomalous frames") && text.contains("16 clips in"), "{text}");
    assert!(!text.contains("AUC"), "{text}");
}

#[tokio::test]
async fn one_class_of_labels_says_so() {
    let fixture = Fixture::start([]).await;
    let root = videos(9);
    let labels = labels(root.path(), 18);
    let output = score(&fixture, &root.path().join("frames/01"), &["--labels", &labels]).await;
    let (line, code) = refusal(&output);
    assert!(line.contains("18 labels") && line.contains("9 are expected"), "{line}");
    assert_eq!(code, Some(1));
    let labels = self::labels(root.path(), 9);
    let output = score(&fixture, &root.path().join("frames/01"), &["--labels", &labels]).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("no AUC: all 5 frames are normal"), "{text}");
}

#[tokio::test]
async fn a_refused_clip_leaves_nothing_behind() {
    let answers = (0..6).map(|_| Answer::Score);
    let refused = Answer::Refuse(Status::invalid_argument("clip is not to be scored"));
    let fixture = Fixture::start(answers.chain([refused])).await;
    let root = videos(20);
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("scores.jsonl");
    let more = ["--format", "jsonl", "--output", file.to_str().unwrap()];
    let (line, code) = refusal(&score(&fixture, &root.path().join("frames"), &more).await);
    assert!(line.contains("INVALID_ARGUMENT: clip is not to be scored"), "{line}");
    assert_eq!(code, Some(1));
    assert_eq!(names(out.path()), Vec::<String>::new());
}

#[tokio::test]
async fn bad_input_is_one_line() {
    let fixture = Fixture::start([]).await;
    let root = tempfile::tempdir().unwrap();
    let folder = |name: &str| {
        let path = root.path().join(name);
        fs::create_dir(&path).unwrap();
        path
    };
    let small = |size: u32| image::RgbImage::new(size, 16);
    let one = folder("one");
    small(16).save(one.join("0.png")).unwrap();
    let mixed = folder("mixed");
    (0..5).for_each(|i| small(16 + i / 4).save(mixed.join(format!("{i}.png"))).unwrap());
    let text = folder("text");
    (0..5).for_each(|i| fs::write(text.join(format!("{i}.jpg")), "not a picture").unwrap());
    let video = root.path().join("video.mp4");
    fs::write(&video, "not a video").unwrap();

    let cases = [
        (root.path().join("absent"), "absent"),
        (folder("empty"), "empty"),
        (one, "1 frames"),
        (mixed, "16x17"),
        (text, "0.jpg"),
        (video, "video.mp4"),
    ];
    for (path, named) in cases {
        let (line, code) = refusal(&score(&fixture, &path, &[]).await);
        assert!(line.starts_with("error: ") && line.contains(named), "{line}");
        assert_eq!(code, Some(1), "{line}");
    }
    assert_eq!(fixture.seen(), 0);
}

#[tokio::test]
async fn wrong_usage_is_one_line_and_code_2() {
    let cases: [(&[&str], &str); 6] = [
        (&[], "score, models, health or bench"),
        (&["scores"], "scores"),
        (&["score"], "PATHS"),
        (&["score", "x", "--payload", "gif"], "possible values: files, raw, png, jpeg"),
        (&["score", "x", "--concurrency", "0"], "1..=1024"),
        (&["score", "x", "--worst", "3"], "--worst-dir"),
    ];
    for (arguments, named) in cases {
        let (line, code) = refusal(&run(arguments).await);
        assert!(line.contains(named), "{line}");
        assert_eq!(code, Some(2), "{line}");
    }
    let help = run(&["--help"]).await;
    assert!(help.status.success() && !help.stdout.is_empty());
}

#[tokio::test]
async fn a_server_that_is_not_there_is_named() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let address = format!("http://{free}");
    for command in ["health", "models"] {
        let (line, code) = refusal(&run(&[command, "--address", &address]).await);
        let expected = format!("error: no server answers at {address}: ");
        assert!(line.starts_with(&expected), "{line}");
        assert_eq!(code, Some(1));
    }
}

#[tokio::test]
async fn models_and_health_are_printed() {
    let fixture = Fixture::start([]).await;
    let text = |output: Output| String::from_utf8(output.stdout).unwrap();
    let models = text(run(&["models", "--address", &fixture.address]).await);
    assert!(models.contains("(default)") && models.contains("4 past frames of 64x64"), "{models}");
    let health = run(&["health", "--address", &fixture.address]).await;
    assert!(health.status.success());
    assert_eq!(text(health), "serving\n");
    let service = ["--service", "protoguard.v1.ScoringService"];
    let health = run(&["health", "--address", &fixture.address, service[0], service[1]]).await;
    assert_eq!(health.status.code(), Some(1));
    assert_eq!(text(health), "not serving\n");
}

#[tokio::test]
async fn a_reader_that_leaves_early_is_no_failure() {
    let fixture = Fixture::start([]).await;
    let root = videos(20);
    let mut command = protoguard();
    command.arg("score").arg(root.path().join("frames"));
    command.args(["--address", &fixture.address, "--format", "jsonl"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn an_interrupt_ends_at_once_and_leaves_no_file() {
    let fixture = Fixture::start((0..4).map(|_| Answer::Silence)).await;
    let root = videos(20);
    let out = tempfile::tempdir().unwrap();
    let mut command = protoguard();
    command.arg("score").arg(root.path().join("frames")).args(["--address", &fixture.address]);
    command.arg("--output").arg(out.path().join("scores.txt"));
    let mut child = command.spawn().unwrap();
    // All four are in flight, so that the signal finds the command waiting.
    fixture.until_seen(4).await;
    assert_eq!(names(out.path()).len(), 1);
    let id = child.id().unwrap().to_string();
    assert!(Command::new("kill").args(["-INT", &id]).status().await.unwrap().success());
    assert_eq!(child.wait().await.unwrap().code(), Some(130));
    assert_eq!(names(out.path()), Vec::<String>::new());
}
