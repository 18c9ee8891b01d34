//! What is served is what the trainer computes.

use std::path::Path;

use serde_json::Value;

use crate::clips::encoded;
use crate::programs::run;
use crate::server::Server;
use crate::trained::{EvaluatedFrame, PAST_FRAMES, REGION, trained};

/// Room for another batch size and another order of sums.
const TOLERANCE: f64 = 1e-4;

/// Scores a folder with the client; every line but the summary.
pub(crate) async fn served(server: &Server, path: &Path, more: &[&str]) -> Vec<Value> {
    let uri = server.uri();
    let mut arguments = vec!["score", path.to_str().unwrap(), "--address", &uri];
    arguments.extend(["--format", "jsonl"]);
    arguments.extend(more);
    let text = run("protoguard", arguments).await.success();
    let mut lines: Vec<Value> = text.lines().map(|l| serde_json::from_str(l).unwrap()).collect();
    let summary = lines.pop().unwrap();
    assert_eq!(summary["summary"]["clips_scored"], lines.len());
    lines
}

/// Every served frame has the scores that `evaluate` gave it.
pub(crate) fn assert_same(served: &[Value], evaluated: &[EvaluatedFrame]) {
    assert_eq!(served.len(), evaluated.len());
    for (served, evaluated) in served.iter().zip(evaluated) {
        assert_eq!(served["video"], evaluated.video);
        assert_eq!(served["frame"], evaluated.frame);
        let pairs = [
            ("psnr_db", evaluated.psnr_db),
            ("feature_distance", evaluated.feature_distance),
            ("regularity", evaluated.regularity),
            ("surprise", evaluated.surprise),
            ("smoothed_surprise", evaluated.smoothed_surprise),
        ];
        for (name, expected) in pairs {
            let found = served[name].as_f64().unwrap();
            assert!((found - expected).abs() <= TOLERANCE, "{name}: {served} and {evaluated:?}");
        }
        for (name, expected) in REGION.into_iter().zip(evaluated.region) {
            let found = served["region"][name].as_f64().unwrap();
            assert!((found - expected).abs() <= TOLERANCE, "{name}: {served} and {evaluated:?}");
        }
    }
}

#[tokio::test]
async fn served_scores_are_those_of_evaluate() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let frames = trained.data.join("testing/frames");
    assert_eq!(trained.frames.len(), 2 * 56);
    // The server resizes, or the client does; the batches differ.
    let ways: [&[&str]; 3] =
        [&[], &["--payload", "raw", "--concurrency", "1"], &["--payload", "png"]];
    for way in ways {
        assert_same(&served(&server, &frames, way).await, &trained.frames);
    }
}

/// Why: what the server says of each part is what `evaluate` says of it, and the surprise that
/// the verdict rests on follows.
#[tokio::test]
async fn served_parts_are_the_statistics_of_evaluate() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let mut client = server.scoring().await;
    for index in [0, 7, 30] {
        let response = client.score_clip(encoded(trained, index)).await.unwrap().into_inner();
        let evaluated = &trained.frames[index];
        assert_eq!(evaluated.frame as usize, index + PAST_FRAMES);
        let surprise = response.surprise.unwrap();
        assert!((surprise - evaluated.surprise).abs() <= TOLERANCE, "{surprise}: {evaluated:?}");
        assert_eq!(response.anomalous, Some(surprise > response.surprise_threshold.unwrap()));
        assert!(!response.parts.is_empty());
        for part in &response.parts {
            let name = part.part().as_str_name().trim_start_matches("PART_").to_lowercase();
            let expected = evaluated.statistics[&name];
            let apart = (part.value - expected).abs();
            assert!(apart <= TOLERANCE * expected.abs().max(1.0), "{part:?}: {evaluated:?}");
        }
    }
}

#[tokio::test]
async fn int8_is_served_and_scores_nearly_the_same() {
    let trained = trained().await;
    let server = Server::start_with(&trained.checkpoint, &["--precision", "int8"]).await;
    let models = run("protoguard", ["models", "--address", &server.uri()]).await.success();
    assert!(models.contains("int8"), "{models}");
    let served = served(&server, &trained.data.join("testing/frames"), &[]).await;
    assert_eq!(served.len(), trained.frames.len());
    for (served, evaluated) in served.iter().zip(&trained.frames) {
        let apart = |name: &str, expected: f64| (served[name].as_f64().unwrap() - expected).abs();
        assert!(apart("psnr_db", evaluated.psnr_db) < 0.2, "{served} and {evaluated:?}");
        let distance = apart("feature_distance", evaluated.feature_distance);
        assert!(distance < 0.02, "{served} and {evaluated:?}");
    }
}

#[tokio::test]
async fn labels_give_an_auc_beside_the_baseline() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let uri = server.uri();
    let (frames, labels) =
        (trained.data.join("testing/frames"), trained.data.join("frame_labels.npy"));
    let out = tempfile::tempdir().unwrap();
    let at = |name: &str| out.path().join(name).to_str().unwrap().to_owned();
    let (curve, worst, table) = (at("curve.png"), at("worst"), at("table.txt"));
    let mut score = vec!["score", frames.to_str().unwrap(), "--address", &uri];
    score.extend(["--labels", labels.to_str().unwrap(), "--picture", &curve]);
    score.extend(["--worst", "2", "--worst-dir", &worst, "--output", &table]);
    run("protoguard", score).await.success();
    let text = std::fs::read_to_string(&table).unwrap();
    for words in ["micro AUC", "copy-frame baseline", "most anomalous frames", "112 clips in"] {
        assert!(text.contains(words), "{text}");
    }
    assert!(image::open(&curve).unwrap().height() > 300);
    assert_eq!(std::fs::read_dir(&worst).unwrap().count(), 2);
}
