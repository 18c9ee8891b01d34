//! The Open Inference Protocol, by Triton's own client.

use serde_json::Value;

use crate::clips::{CLIP, sorted, videos};
use crate::programs::{Finished, tool, workspace};
use crate::server::Server;
use crate::trained::{EvaluatedFrame, SIDE, trained};

/// Room for another batch size, and for numbers of 32 bits.
const TOLERANCE: f64 = 1e-4;
/// Clips that are sent at once.
const CLIPS: usize = 3;

fn numbers(outputs: &Value, name: &str) -> Vec<f64> {
    let output = &outputs[name];
    let values = output["values"].as_array().unwrap_or_else(|| panic!("no {name}: {outputs}"));
    values.iter().map(|value| value.as_f64().unwrap()).collect()
}

#[tokio::test]
async fn triton_client_reads_the_metadata_and_scores_clips() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let folder = tempfile::tempdir().unwrap();
    let mut client = tool("python");
    client.arg(workspace().join("tests/python/infer_clips.py")).arg(&server.address).arg("model");
    client.arg(CLIP.to_string());
    for (index, path) in sorted(&videos(&trained.data)[0])[..CLIP + CLIPS - 1].iter().enumerate() {
        let picture = image::open(path).unwrap().into_rgb8();
        let ppm = folder.path().join(format!("{index}.ppm"));
        let header = format!("P6\n{} {}\n255\n", picture.width(), picture.height());
        std::fs::write(&ppm, [header.as_bytes(), &picture].concat()).unwrap();
        client.arg(ppm);
    }
    let told: Value = serde_json::from_str(&Finished::of(client).await.success()).unwrap();
    for (name, expected) in
        [("live", true), ("ready", true), ("model_ready", true), ("other_ready", false)]
    {
        assert_eq!(told[name], expected, "{name}");
    }
    assert_eq!(told["server"]["name"], "protoguard");
    let frames = &told["model"]["inputs"][0];
    assert_eq!((&frames["name"], &frames["datatype"]), (&"frames".into(), &"UINT8".into()));
    assert_eq!(frames["shape"], serde_json::json!(["-1", CLIP.to_string(), "-1", "-1", "3"]));
    assert_eq!(told["config"]["config"]["input"][0]["data_type"], "TYPE_UINT8");

    let evaluated = &trained.frames[..CLIPS];
    let expected = |name: &str, frame: &EvaluatedFrame| match name {
        "psnr_db" => frame.psnr_db,
        "feature_distance" => frame.feature_distance,
        "regularity" => frame.regularity,
        _ => frame.surprise,
    };
    for name in ["psnr_db", "feature_distance", "regularity", "surprise"] {
        assert_eq!(told["scores"][name]["shape"], serde_json::json!([CLIPS, 1]));
        let found = numbers(&told["scores"], name);
        for (found, frame) in found.iter().zip(evaluated) {
            assert!(
                (found - expected(name, frame)).abs() <= TOLERANCE,
                "{name}: {found} {frame:?}"
            );
        }
        // Floats are the same picture.
        let floats = numbers(&told["floats"], name)[0];
        assert!((floats - found[0]).abs() <= TOLERANCE, "{name}: {floats} and {}", found[0]);
    }
    let side = SIDE as usize;
    let pictures = &told["pictures"];
    assert_eq!(pictures["predicted_frame"]["shape"], serde_json::json!([2, side, side, 3]));
    assert_eq!(pictures["error_map"]["shape"], serde_json::json!([2, side, side]));
    // The error map's mean is the PSNR's error.
    let map = numbers(pictures, "error_map");
    let error = map[..side * side].iter().sum::<f64>() / (side * side) as f64;
    let psnr = -10.0 * error.log10();
    assert!((psnr - evaluated[0].psnr_db).abs() < 1e-3, "{psnr}: {:?}", evaluated[0]);
    assert_eq!(told["refused"]["code"], "StatusCode.INVALID_ARGUMENT");
    let message = told["refused"]["message"].as_str().unwrap();
    assert!(message.contains("has clips of 2 frames; 5 are expected"), "{message}");
}
