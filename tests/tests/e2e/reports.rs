//! What the trainer reports: of a data set, and of a checkpoint as a page.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::clips::sorted;
use crate::programs::run;
use crate::trained::trained;

async fn evaluate_with(data: &Path, checkpoint: &Path, more: &[&str]) -> String {
    let [data, checkpoint] = [data, checkpoint].map(|path| path.to_str().unwrap());
    let arguments = ["evaluate", "--checkpoint", checkpoint, "--data", data];
    run("protoguard-trainer", arguments.iter().chain(more)).await.success()
}

#[tokio::test]
async fn inspect_counts_a_data_set_in_both_formats() {
    let trained = trained().await;
    let data = trained.data.to_str().unwrap();
    let table = run("protoguard-trainer", ["inspect", data]).await.success();
    for expected in
        ["layout converted", "training: 3 videos, 180 frames", "labels: frame_labels.npy"]
    {
        assert!(table.contains(expected), "{expected:?} is not in\n{table}");
    }
    let json = ["inspect", data, "--format", "json", "--decode"];
    let json = run("protoguard-trainer", json).await.success();
    let report: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(report["labels"]["frames"], 120);
    assert_eq!(report["halves"][1]["videos"][0]["height"], 120);
    assert!(report["oddities"].as_array().unwrap().iter().all(|oddity| oddity["problem"] == false));
}

#[tokio::test]
async fn inspect_fails_on_folders_that_cannot_be_used() {
    let root = tempfile::tempdir().unwrap();
    let path = root.path().to_str().unwrap();
    let finished = run("protoguard-trainer", ["inspect", path]).await;
    assert!(finished.refusal(1).contains("no data set of a known layout"), "{finished:?}");
    let finished = run("protoguard-trainer", ["inspect", path, "--layout", "cctv"]).await;
    assert_eq!(finished.code, Some(2), "{finished:?}");
    assert!(finished.stderr.contains("ucsd, avenue, shanghaitech, converted, own"));
    let frame = root.path().join("training/frames/01/000.jpg");
    fs::create_dir_all(frame.parent().unwrap()).unwrap();
    fs::write(&frame, "this is text").unwrap();
    let finished = run("protoguard-trainer", ["inspect", path]).await;
    assert!(finished.refusal(1).contains("1 problems"), "{finished:?}");
    assert!(finished.stdout.contains("000.jpg") && finished.stdout.contains("no known format"));
}

#[tokio::test]
async fn the_page_stands_by_itself_and_a_second_run_finds_its_frames() {
    let trained = trained().await;
    let root = tempfile::tempdir().unwrap();
    let (page, cache) = (root.path().join("report.html"), root.path().join("cache"));
    let more = ["--report", page.to_str().unwrap(), "--cache", cache.to_str().unwrap()];
    let first = evaluate_with(&trained.data, &trained.checkpoint, &more).await;
    let html = fs::read_to_string(&page).unwrap();
    assert!(html.len() < 10 << 20);
    assert!(html.contains("data:image/jpeg;base64,") && html.contains("ROC"));
    assert!(!html.contains("<script") && !html.contains("http"));
    assert_eq!(sorted(&cache).len(), 2, "one file a test video");

    let again = [&more[..], &["--overwrite"]].concat();
    let second = evaluate_with(&trained.data, &trained.checkpoint, &again).await;
    let numbers = |table: &str| {
        let lines = table.lines().filter(|line| !line.contains("clips a second"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(numbers(&first), numbers(&second));
    let refused = ["evaluate", "--checkpoint", trained.checkpoint.to_str().unwrap(), "--data"];
    let refused = refused.into_iter().chain([trained.data.to_str().unwrap()]).chain(more);
    assert!(run("protoguard-trainer", refused).await.refusal(2).contains("exists"));
}
