//! A small model, trained once for all tests by the programs themselves.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::Value;
use tokio::sync::OnceCell;

use crate::programs::run;

/// The model's side in pixels.
pub(crate) const SIDE: u32 = 32;
/// Past frames of a clip.
pub(crate) const PAST_FRAMES: usize = 4;

/// What a region is made of.
pub(crate) const REGION: [&str; 5] = ["left", "top", "right", "bottom", "share"];

/// Drawn scenes, a checkpoint, and what `evaluate` says of every test frame.
#[derive(Debug)]
pub(crate) struct Trained {
    pub(crate) data: PathBuf,
    pub(crate) checkpoint: PathBuf,
    pub(crate) frames: Vec<EvaluatedFrame>,
}

/// One frame's scores as the trainer computes them, without a server.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct EvaluatedFrame {
    pub(crate) video: String,
    pub(crate) frame: u64,
    pub(crate) psnr_db: f64,
    pub(crate) feature_distance: f64,
    pub(crate) regularity: f64,
    /// Of the frame by itself, and after causal smoothing.
    pub(crate) surprise: f64,
    pub(crate) smoothed_surprise: f64,
    /// What the detector judges, by name.
    pub(crate) statistics: BTreeMap<String, f64>,
    /// Left, top, right and bottom edge, and the share of the error inside.
    pub(crate) region: [f64; 5],
}

/// The model, trained by whichever test comes first.
pub(crate) async fn trained() -> &'static Trained {
    static TRAINED: OnceCell<Trained> = OnceCell::const_new();
    TRAINED.get_or_init(train).await
}

/// Another model of the same shape, trained by whichever test comes first.
pub(crate) async fn another() -> &'static Path {
    static ANOTHER: OnceCell<PathBuf> = OnceCell::const_new();
    let train = async || {
        let trained = trained().await;
        let checkpoint = trained.checkpoint.with_file_name("another.safetensors");
        train_with(&trained.data, &checkpoint, &["--seed", "9"]).await;
        checkpoint
    };
    ANOTHER.get_or_init(train).await
}

async fn train() -> Trained {
    // One folder for every run of these tests, so that none accumulates.
    let root = Path::new(env!("CARGO_TARGET_TMPDIR")).join("e2e");
    if root.exists() {
        fs::remove_dir_all(&root).unwrap();
    }
    fs::create_dir_all(&root).unwrap();
    let (data, checkpoint) = (root.join("data"), root.join("model.safetensors"));
    let numbers = "--seed 7 --training-videos 3 --testing-videos 2 --frames 60";
    let mut synth = vec!["synth", "--out", data.to_str().unwrap()];
    synth.extend(numbers.split(' '));
    run("protoguard-trainer", synth).await.success();
    train_on(&data, &checkpoint).await;
    let frames = evaluate(&checkpoint, &data, &root.join("frames.jsonl")).await;
    Trained { data, checkpoint, frames }
}

/// Trains a small model on the normal half of a data set.
pub(crate) async fn train_on(data: &Path, checkpoint: &Path) {
    train_with(data, checkpoint, &[]).await;
}

async fn train_with(data: &Path, checkpoint: &Path, more: &[&str]) {
    let side = SIDE.to_string();
    let mut train = vec!["train", "--data", data.to_str().unwrap()];
    train.extend(["--out", checkpoint.to_str().unwrap(), "--side", &side]);
    train.extend(
        "--past-frames 4 --base-width 8 --memory-items 10 --epochs 1 --threads 1".split(' '),
    );
    train.extend(more);
    run("protoguard-trainer", train).await.success();
}

/// What the trainer says of every test frame of a data set.
pub(crate) async fn evaluate(checkpoint: &Path, data: &Path, out: &Path) -> Vec<EvaluatedFrame> {
    let paths = [checkpoint, data, out].map(|path| path.to_str().unwrap());
    let evaluate = ["evaluate", "--checkpoint", paths[0], "--data", paths[1]];
    run("protoguard-trainer", evaluate.into_iter().chain(["--frames-out", paths[2]]))
        .await
        .success();
    let text = fs::read_to_string(out).unwrap();
    text.lines()
        .map(|line| {
            let line: Value = serde_json::from_str(line).unwrap();
            EvaluatedFrame {
                video: line["video"].as_str().unwrap().to_owned(),
                frame: line["frame"].as_u64().unwrap(),
                psnr_db: line["psnr_db"].as_f64().unwrap(),
                feature_distance: line["feature_distance"].as_f64().unwrap(),
                regularity: line["regularity"].as_f64().unwrap(),
                surprise: line["surprise"].as_f64().unwrap(),
                smoothed_surprise: line["smoothed_surprise"].as_f64().unwrap(),
                region: REGION.map(|name| line["region"][name].as_f64().unwrap()),
                statistics: serde_json::from_value(line["statistics"].clone()).unwrap(),
            }
        })
        .collect()
}
