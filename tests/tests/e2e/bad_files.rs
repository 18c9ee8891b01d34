//! Files and folders that are not what they should be: one line, an exit code, nothing left.

use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::clips::sorted;
use crate::programs::{Finished, program, run};
use crate::trained::{Trained, trained};

/// A copy of the drawn scenes, to be spoilt.
fn copy_of(trained: &Trained) -> TempDir {
    let root = tempfile::tempdir().unwrap();
    for half in ["training", "testing"] {
        for video in sorted(&trained.data.join(half).join("frames")) {
            let copy = root.path().join(half).join("frames").join(video.file_name().unwrap());
            fs::create_dir_all(&copy).unwrap();
            for frame in sorted(&video) {
                fs::copy(&frame, copy.join(frame.file_name().unwrap())).unwrap();
            }
        }
    }
    fs::copy(trained.data.join("frame_labels.npy"), root.path().join("frame_labels.npy")).unwrap();
    root
}

fn first_video(root: &TempDir) -> PathBuf {
    sorted(&root.path().join("training/frames"))[0].clone()
}

/// Trains on `data`, which must fail and leave nothing.
async fn refused_training(data: &Path) -> String {
    let out = tempfile::tempdir().unwrap();
    let checkpoint = out.path().join("model.safetensors");
    let arguments = ["train", "--data", data.to_str().unwrap(), "--out"];
    let more = [checkpoint.to_str().unwrap(), "--side", "32", "--base-width", "8"];
    let finished = run("protoguard-trainer", arguments.into_iter().chain(more)).await;
    assert_eq!(sorted(out.path()), Vec::<PathBuf>::new());
    finished.refusal(1).to_owned()
}

#[tokio::test]
async fn folders_without_a_data_set() {
    let root = tempfile::tempdir().unwrap();
    let absent = root.path().join("absent");
    let line = refused_training(&absent).await;
    assert!(line.contains("absent") && line.contains("training/frames"), "{line}");
    let line = refused_training(root.path()).await;
    assert!(line.contains(root.path().to_str().unwrap()), "{line}");
    assert!(line.contains("training/frames"), "{line}");
    let file = root.path().join("file");
    fs::write(&file, "text").unwrap();
    let line = refused_training(&file).await;
    assert!(line.contains("file") && line.contains("expected"), "{line}");
    let video = root.path().join("training/frames/01");
    fs::create_dir_all(&video).unwrap();
    let line = refused_training(root.path()).await;
    assert!(line.contains("training/frames/01") && line.contains("expected"), "{line}");
}

#[tokio::test]
async fn videos_that_cannot_be_trained_on() {
    let trained = trained().await;

    let root = copy_of(trained);
    for frame in &sorted(&first_video(&root))[1..] {
        fs::remove_file(frame).unwrap();
    }
    let line = refused_training(root.path()).await;
    assert!(line.contains("has 1 frames") && line.contains("at least 5"), "{line}");

    let spoil = |bytes: &[u8]| {
        let root = copy_of(trained);
        fs::write(&sorted(&first_video(&root))[7], bytes).unwrap();
        root
    };
    let named = sorted(&first_video(&spoil(b"")))[7].file_name().unwrap().to_owned();
    let named = named.to_str().unwrap();
    let whole = fs::read(&sorted(&sorted(&trained.data.join("training/frames"))[0])[7]).unwrap();
    let odd = tempfile::Builder::new().suffix(".png").tempfile().unwrap();
    image::RgbImage::new(48, 40).save(odd.path()).unwrap();
    let cases: [(&[u8], &str); 4] = [
        (b"", "JPEG"),
        (b"this is text", "JPEG"),
        (&whole[..whole.len() / 2], "truncated"),
        (&fs::read(odd.path()).unwrap(), "40x48"),
    ];
    for (bytes, words) in cases {
        let line = refused_training(spoil(bytes).path()).await;
        assert!(line.contains(named) && line.contains(words), "{line}");
    }
}

#[tokio::test]
async fn labels_that_do_not_fit() {
    let trained = trained().await;
    let root = copy_of(trained);
    let last = sorted(&sorted(&root.path().join("testing/frames"))[1]).pop().unwrap();
    fs::remove_file(last).unwrap();
    let report = root.path().join("report.json");
    let finished = evaluate(&trained.checkpoint, root.path(), &report).await;
    let line = finished.refusal(1);
    assert!(line.contains("120 labels") && line.contains("119 are expected"), "{line}");
    assert!(!report.exists());
}

async fn evaluate(checkpoint: &Path, data: &Path, report: &Path) -> Finished {
    let [checkpoint, data, report] = [checkpoint, data, report].map(|path| path.to_str().unwrap());
    let arguments = ["evaluate", "--checkpoint", checkpoint, "--data", data, "--out", report];
    run("protoguard-trainer", arguments).await
}

#[tokio::test]
async fn files_that_are_no_checkpoint() {
    let trained = trained().await;
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    fs::write(path("text.safetensors"), "not a checkpoint").unwrap();
    fs::write(path("empty.safetensors"), "").unwrap();
    let whole = fs::read(&trained.checkpoint).unwrap();
    fs::write(path("cut.safetensors"), &whole[..whole.len() / 2]).unwrap();
    let before = sorted(root.path());
    for name in ["text.safetensors", "empty.safetensors", "cut.safetensors", "absent.safetensors"] {
        let report = path("report.json");
        let finished = evaluate(&path(name), &trained.data, &report).await;
        assert!(finished.refusal(1).contains(name), "{finished:?}");
        let model = path(name);
        let serve = ["--model", model.to_str().unwrap(), "--listen", "127.0.0.1:0"];
        let finished = run("protoguard-server", serve).await;
        assert!(finished.refusal(1).contains(name), "{finished:?}");
        assert_eq!(finished.stdout, "");
    }
    assert_eq!(sorted(root.path()), before);
}

#[tokio::test]
async fn a_port_in_use_is_named() {
    let trained = trained().await;
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let model = trained.checkpoint.to_str().unwrap();
    let finished = run("protoguard-server", ["--model", model, "--listen", &address]).await;
    let line = finished.refusal(1);
    assert!(line.contains(&address) && line.contains("in use"), "{line}");
    assert_eq!(finished.stdout, "");
}

#[tokio::test]
async fn wrong_usage_is_code_2() {
    let trained = trained().await;
    let model = trained.checkpoint.to_str().unwrap();
    let data = trained.data.to_str().unwrap();
    let out = tempfile::tempdir().unwrap();
    let checkpoint = out.path().join("model.safetensors");
    let checkpoint = checkpoint.to_str().unwrap();
    let cases: [(&str, Vec<&str>, &str); 5] = [
        ("protoguard-server", vec!["--model", model, "--listen", "nowhere"], "nowhere"),
        ("protoguard-server", vec!["--model", model, "--listne", "127.0.0.1:0"], "--listne"),
        ("protoguard-trainer", vec!["train", "--data", data], "--out"),
        (
            "protoguard-trainer",
            vec!["train", "--data", data, "--out", checkpoint, "--side", "100"],
            "multiple of 8",
        ),
        ("protoguard-trainer", vec!["trian"], "trian"),
    ];
    for (name, arguments, words) in cases {
        let finished = run(name, arguments).await;
        assert_eq!(finished.code, Some(2), "{finished:?}");
        assert!(finished.stderr.contains(words), "{finished:?}");
    }
    assert_eq!(sorted(out.path()), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn a_video_without_ffmpeg_says_what_is_missing() {
    let root = tempfile::tempdir().unwrap();
    let video = root.path().join("video.mp4");
    fs::write(&video, "a video").unwrap();
    let trained = trained().await;
    let server = crate::server::Server::start(&trained.checkpoint).await;
    let mut score = program("protoguard");
    score.arg("score").arg(&video).args(["--address", &server.address]).env("PATH", root.path());
    let finished = Finished::of(score).await;
    let line = finished.refusal(1);
    assert!(line.contains("ffmpeg") && line.contains("install"), "{line}");
}
