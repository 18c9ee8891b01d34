//! The trainer's commands on a checkpoint, and a grid of runs.

use std::fs;
use std::path::Path;

use serde_json::Value;

use crate::programs::{Finished, program, run};
use crate::server::Server;
use crate::trained::trained;

async fn show(checkpoint: &Path) -> Value {
    let path = checkpoint.to_str().unwrap();
    let shown = run("protoguard-trainer", ["show", "--json", path]).await.success();
    serde_json::from_str(&shown).unwrap()
}

#[tokio::test]
async fn an_export_is_smaller_and_proves_itself_to_a_server() {
    let trained = trained().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("served.safetensors");
    let mut export = program("protoguard-trainer");
    export.arg("export").arg("--checkpoint").arg(&trained.checkpoint).arg("--out").arg(&out);
    Finished::of({
        export.args(["--f16", "--without-motion"]);
        export
    })
    .await
    .success();
    let (before, after) = (show(&trained.checkpoint).await, show(&out).await);
    assert_eq!((&before["weights"], &after["weights"]), (&"f32".into(), &"f16".into()));
    assert_eq!(after["optimizer_state"], false);
    assert_eq!(after["model"]["motion_branch"], false);
    assert_ne!(before["content_hash"], after["content_hash"]);
    let bytes = |path: &Path| fs::metadata(path).unwrap().len();
    assert!(5 * bytes(&out) < bytes(&trained.checkpoint), "moments and a branch are gone");

    // The server proves the golden clip when it loads a model.
    let server = Server::start(&out).await;
    let models = run("protoguard", ["models", "--address", &server.uri()]).await.success();
    assert!(models.contains(after["version"].as_str().unwrap()), "{models}");
    let page = run("protoguard-trainer", ["show", out.to_str().unwrap()]).await.success();
    assert!(page.contains("optimiser state    no") && page.contains("f16"), "{page}");
}

#[tokio::test]
async fn another_camera_is_calibrated_without_training() {
    let trained = trained().await;
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("gate.safetensors");
    let mut calibrate = program("protoguard-trainer");
    calibrate.arg("calibrate").arg("--checkpoint").arg(&trained.checkpoint).arg("--out").arg(&out);
    calibrate.arg("--data").arg(&trained.data).args(["--scene", "gate", "--cache", "off"]);
    Finished::of(calibrate).await.success();
    let (before, after) = (show(&trained.checkpoint).await, show(&out).await);
    let added = after["calibrations"].as_array().unwrap().last().unwrap();
    assert_eq!((&added["scene"], &added["id"]), (&"gate".into(), &"gate".into()));
    assert_eq!(added["frames"], 3 * (60 - 4), "every frame with four before it");
    assert_eq!(after["calibrations"][0], before["calibrations"][0]);
    assert_ne!(before["version"], after["version"]);
    assert_eq!(before["weight_bytes"], after["weight_bytes"]);
    // Steps of int8 that serve both cameras.
    let ranges = |shown: &Value| shown["activation_ranges"].as_object().unwrap().clone();
    let (before, after) = (ranges(&before), ranges(&after));
    assert!(before.contains_key("encoder.1.conv1") && before.keys().eq(after.keys()));
    let wider = |layer: &String| after[layer].as_f64() >= before[layer].as_f64();
    assert!(before.keys().all(wider), "{before:?} {after:?}");
}

#[tokio::test]
async fn every_value_of_the_configuration_has_an_origin() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("run.toml");
    fs::write(&file, "[training]\nepochs = 7\n").unwrap();
    let mut config = program("protoguard-trainer");
    config.arg("config").arg("--config").arg(&file).args(["--side", "64"]);
    config.env("PROTOGUARD_TRAINER__TRAINING__SEED", "5");
    let printed = Finished::of(config).await.success();
    let origin = |key: &str| {
        let line = printed.lines().find(|line| line.starts_with(&format!("{key} ="))).unwrap();
        line.split_once('#').unwrap().1.trim().to_owned()
    };
    assert!(origin("epochs").starts_with("file ") && origin("epochs").ends_with("run.toml"));
    assert_eq!(
        [origin("side"), origin("seed"), origin("within")],
        ["flag", "environment", "default"]
    );
}

#[tokio::test]
async fn a_grid_runs_cell_by_cell_and_twice_is_once() {
    let trained = trained().await;
    let folder = tempfile::tempdir().unwrap();
    fs::write(
        folder.path().join("base.toml"),
        "[model]\nbase_width = 4\n[model.shape]\nside = 16\n[training]\nepochs = 1\nbatch_size = 16\nthreads = 1\n",
    )
    .unwrap();
    let grid = folder.path().join("grid.toml");
    fs::write(&grid, "config = \"base.toml\"\n[grid]\nmodel.memory.items = [0, 8]\n").unwrap();
    let out = folder.path().join("out");
    let ablate = || {
        let mut ablate = program("protoguard-trainer");
        ablate.arg("ablate").arg("--grid").arg(&grid).arg("--out").arg(&out);
        ablate.arg("--data").arg(&trained.data).args(["--cache", "off"]);
        ablate
    };
    // As two pods of one index of a Kubernetes Job.
    let cell = || async {
        let mut cell = ablate();
        cell.env("JOB_COMPLETION_INDEX", "1");
        Finished::of(cell).await
    };
    let (first, second) = tokio::join!(cell(), cell());
    let logs = format!("{}{}", first.stderr, second.stderr);
    let tables = [first.success(), second.success()];
    let wrote = |line: &&str| line.contains("wrote ") && line.contains("model.safetensors");
    assert_eq!(logs.lines().filter(wrote).count(), 1, "one of both trained: {logs}");
    assert!(tables.iter().all(|table| table.contains("1 of 2 cells are done")), "{tables:?}");

    Finished::of(ablate()).await.success();
    let table: Value = serde_json::from_slice(&fs::read(out.join("table.json")).unwrap()).unwrap();
    assert_eq!((&table["done"], &table["cells"]), (&2.into(), &2.into()));
    assert_eq!(table["rows"][0]["name"], "model.memory.items=0");
    for row in table["rows"].as_array().unwrap() {
        let auc = row["auc"]["mean"].as_f64().unwrap();
        assert!((0.0..=1.0).contains(&auc), "{table}");
    }
    let again = Finished::of(ablate()).await;
    assert_eq!(again.stderr.matches("is done").count(), 2, "{again:?}");
    assert!(fs::read_to_string(out.join("table.md")).unwrap().starts_with("| setting |"));
}
