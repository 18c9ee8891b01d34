//! What a run says of itself, as other programs read it.

use serde_json::Value;

use crate::programs::{Finished, program, tool, workspace};
use crate::trained::trained;

#[tokio::test]
async fn tensorboard_reads_losses_memory_and_pictures() {
    let trained = trained().await;
    let folder = tempfile::tempdir().unwrap();
    let (out, events) = (folder.path().join("model.safetensors"), folder.path().join("events"));
    let mut train = program("protoguard-trainer");
    train.arg("train").arg("--data").arg(&trained.data).arg("--out").arg(&out);
    train.arg("--tensorboard").arg(&events);
    train.args("--side 32 --base-width 4 --memory-items 8 --epochs 2 --batch-size 16".split(' '));
    train.args("--threads 1 --cache off --set training.log_steps=3".split(' '));
    Finished::of(train).await.success();

    let mut python = tool("python");
    python.arg(workspace().join("tests/python/read_events.py")).arg(&events);
    let read: Value = serde_json::from_str(&Finished::of(python).await.success()).unwrap();
    let scalars = |tag: &str| {
        read["scalars"][tag].as_array().unwrap_or_else(|| panic!("{tag}: {read}")).clone()
    };
    let lines = std::fs::read_to_string(folder.path().join("model.safetensors.log.jsonl")).unwrap();
    let records: Vec<Value> =
        lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let steps: Vec<&Value> = records.iter().filter(|record| record["event"] == "step").collect();
    let losses = scalars("loss/total");
    assert_eq!(losses.len(), steps.len());
    for (point, record) in losses.iter().zip(steps) {
        assert_eq!(point[0], record["step"]);
        let departure =
            point[1].as_f64().unwrap() / record["losses"]["total"].as_f64().unwrap() - 1.0;
        assert!(departure.abs() < 1e-6, "{point} against {record}");
    }
    for tag in ["memory/items_in_use", "memory/perplexity", "held_out/psnr_db", "learning_rate"] {
        assert!(!scalars(tag).is_empty(), "{tag}");
    }
    let pictures = read["images"]["held_out/0"].as_array().unwrap();
    assert_eq!(pictures.len(), 2, "one after every epoch");
    assert_eq!(pictures[1][1], 4 * 32, "past frame, target, prediction and error side by side");
    assert_eq!((&pictures[1][2], &pictures[1][3]), (&Value::from(32), &Value::from("89504e47")));
    assert_eq!(records.last().unwrap()["outcome"], "finished");
}
