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

#[tokio::test]
async fn evaluate_ends_with_one_line_of_numbers() {
    let trained = trained().await;
    let printed = evaluate_with(&trained.data, &trained.checkpoint, &["--fps", "10"]).await;
    for expected in
        ["served, smoothed: the alarm", "no model: copy frame", "false alarms an hour ("]
    {
        assert!(printed.contains(expected), "{expected:?} is not in\n{printed}");
    }
    let line: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let shares = ["auc_video_paper", "auc_video_served", "auc_global_served", "tpr", "fpr"];
    for field in shares.into_iter().chain(["auc_feature_distance", "auc_global_copy_frame"]) {
        let share = line[field].as_f64().unwrap_or_else(|| panic!("{field} in {line}"));
        assert!((0.0..=1.0).contains(&share), "{field} in {line}");
    }
    assert!(line["motion_loss_vs_zero"].as_f64().unwrap() > 0.0, "{line}");
    let count = |field: &str| line[field].as_u64().unwrap();
    assert!(count("events") >= 1 && count("events_found") <= count("events"), "{line}");
    assert!(line["rbdc"].is_null() && line["tbdc"].is_null(), "there are no masks: {line}");
    assert_eq!(line["data"], "data");
    let wrong = ["evaluate", "--checkpoint", "x", "--data", "x", "--fps", "0"];
    let wrong = run("protoguard-trainer", wrong).await;
    assert!(wrong.stderr.contains("above 0, at most 1000"), "{wrong:?}");
}

#[tokio::test]
async fn validation_needs_normal_video_alone() {
    let trained = trained().await;
    let root = tempfile::tempdir().unwrap();
    std::os::unix::fs::symlink(trained.data.join("training"), root.path().join("training"))
        .unwrap();
    let [data, checkpoint] =
        [root.path(), trained.checkpoint.as_path()].map(|path| path.to_str().unwrap());
    let validate = ["validate", "--checkpoint", checkpoint, "--data", data, "--cache", "off"];
    let printed = run("protoguard-trainer", validate.into_iter().chain(["--all"])).await.success();
    let line: Value = serde_json::from_str(printed.lines().last().unwrap()).unwrap();
    let kinds = line["events"].as_object().unwrap();
    assert!(kinds.contains_key("drawn_object"), "{line}");
    for (name, score) in line["scores"].as_object().unwrap() {
        let auc = score["auc_global"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auc), "{name}: {score}");
        assert_eq!(score["kinds"].as_object().unwrap().len(), kinds.len(), "{name}: {score}");
    }
    assert_eq!(line["tpr"], line["scores"]["served"]["tpr"]);
    // The ends that the training held out of three videos are too short for an event.
    let refused = run("protoguard-trainer", validate).await;
    assert!(refused.refusal(1).contains("nothing could be put into"), "{refused:?}");
}
