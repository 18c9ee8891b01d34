//! Clients that know the server by its reflection or its proto files alone.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::clips::{CLIP, files, sorted, videos};
use crate::programs::{Finished, tool, workspace};
use crate::server::Server;
use crate::trained::{EvaluatedFrame, Trained, trained};

const SCORE_CLIP: &str = "protoguard.v1.ScoringService/ScoreClip";
const SERVICES: [&str; 6] = [
    "grpc.health.v1.Health",
    "grpc.reflection.v1.ServerReflection",
    "grpc.reflection.v1alpha.ServerReflection",
    "inference.GRPCInferenceService",
    "protoguard.v1.ModelService",
    "protoguard.v1.ScoringService",
];

/// A request for the first clip as JSON, and the scores it must get.
fn request(trained: &Trained) -> (String, &EvaluatedFrame) {
    let frames: Vec<String> =
        files(trained, 0).iter().map(|bytes| STANDARD.encode(bytes)).collect();
    let request = json!({ "requestId": "json", "encodedFrames": { "frames": frames } });
    (request.to_string(), &trained.frames[0])
}

fn assert_scores(response: &str, expected: &EvaluatedFrame) {
    let response: Value = serde_json::from_str(response).unwrap();
    let pairs = [
        ("psnrDb", expected.psnr_db),
        ("featureDistance", expected.feature_distance),
        ("regularity", expected.regularity),
        ("surprise", expected.surprise),
    ];
    for (name, expected) in pairs {
        // Proto3's JSON leaves a plain zero out, but not an optional one.
        let found = response[name].as_f64().unwrap_or_else(|| panic!("no {name}: {response}"));
        assert!((found - expected).abs() < 1e-4, "{name} is {found}, {expected} is expected");
    }
    assert!(response["anomalous"].is_boolean(), "{response}");
}

#[tokio::test]
async fn grpcurl_lists_services_and_scores_a_clip() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let mut list = tool("grpcurl");
    list.args(["-plaintext", &server.address, "list"]);
    let listed = Finished::of(list).await.success();
    for service in SERVICES {
        assert!(listed.lines().any(|line| line == service), "{service} is not in {listed}");
    }
    let mut describe = tool("grpcurl");
    describe.args(["-plaintext", &server.address, "describe", "protoguard.v1.ScoreClipRequest"]);
    assert!(Finished::of(describe).await.success().contains("encoded_frames"));

    let (request, expected) = request(trained);
    let mut score = tool("grpcurl");
    score.args(["-plaintext", "-d", &request, &server.address, SCORE_CLIP]);
    let response = Finished::of(score).await.success();
    assert_scores(&response, expected);
    assert!(response.contains("\"requestId\": \"json\""), "{response}");

    let mut probe = tool("grpcurl");
    let clip = r#"{"testClip": "TEST_CLIP_NORMAL"}"#;
    probe.args(["-plaintext", "-d", clip, &server.address, SCORE_CLIP]);
    assert!(Finished::of(probe).await.success().contains("psnrDb"));
}

#[tokio::test]
async fn buf_curl_lists_services_and_scores_a_clip() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let uri = server.uri();
    let mut list = tool("buf");
    list.args(["curl", "--http2-prior-knowledge", "--protocol", "grpc", "--list-services", &uri]);
    let listed = Finished::of(list).await.success();
    for service in SERVICES {
        assert!(listed.lines().any(|line| line == service), "{service} is not in {listed}");
    }
    let (request, expected) = request(trained);
    let mut score = tool("buf");
    score.args(["curl", "--http2-prior-knowledge", "--protocol", "grpc", "--data", &request]);
    score.arg(format!("{uri}/{SCORE_CLIP}"));
    assert_scores(&Finished::of(score).await.success(), expected);
}

#[tokio::test]
async fn buf_finds_nothing_to_complain_of_in_the_proto_files() {
    let mut lint = tool("buf");
    lint.arg("lint").arg(workspace().join("proto"));
    assert_eq!(Finished::of(lint).await.success(), "");
}

#[tokio::test]
async fn python_scores_a_clip_from_the_proto_files_alone() {
    let trained = trained().await;
    let server = Server::start(&trained.checkpoint).await;
    let frames = &sorted(&videos(&trained.data)[0])[..CLIP];
    let script = workspace().join("tests/python/score_clip.py");
    let score = |frames: &[std::path::PathBuf]| {
        let mut python = tool("python");
        python.arg(&script).arg(workspace().join("proto")).arg(&server.address).args(frames);
        Finished::of(python)
    };
    let response = score(frames).await.success();
    assert_scores(&response, &trained.frames[0]);
    let response: Value = serde_json::from_str(&response).unwrap();
    assert_eq!(response["requestId"], "python");
    assert_eq!(response["rgbDifferences"].as_array().map(Vec::len), Some(4));
    let png = STANDARD.decode(response["predictedFrame"]["data"].as_str().unwrap()).unwrap();
    assert!(image::load_from_memory(&png).is_ok());

    let refused: Value = serde_json::from_str(&score(&frames[..3]).await.success()).unwrap();
    assert_eq!(refused["code"], "INVALID_ARGUMENT");
    let details = refused["details"].as_str().unwrap();
    assert!(details.contains("encoded_frames") && details.contains('3'), "{details}");
}

/// grpcio's two ways of calling, each with a deadline, a cancelled call, and a server that is not
/// there yet and then still loading.
#[tokio::test]
async fn python_clients_wait_for_a_server_that_starts_and_obey_its_retry_info() {
    let trained = trained().await;
    let frames = &sorted(&videos(&trained.data)[0])[..CLIP];
    let script = workspace().join("tests/python/patient_client.py");
    for kind in ["sync", "aio"] {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let address = format!("127.0.0.1:{port}");
        let mut python = tool("python");
        python.arg(&script).args([kind, workspace().join("proto").to_str().unwrap(), &address]);
        python.args(frames);
        let patient = tokio::spawn(Finished::of(python));
        // Warming up at such batches takes a while, in which the server answers LOADING.
        let checkpoint = trained.checkpoint.to_str().unwrap();
        let slow = ["--model", checkpoint, "--listen", &address, "--max-batch-size", "1024"];
        let server = Server::start_bare(&slow).await;
        let told: Value = serde_json::from_str(&patient.await.unwrap().success()).unwrap();
        assert_scores(&told["response"].to_string(), &trained.frames[0]);
        let retries = told["retries"].as_array().unwrap();
        let loading = |retry: &&Value| retry["reason"] == "LOADING";
        let loading: Vec<_> = retries.iter().filter(loading).collect();
        assert!(!loading.is_empty(), "{told}");
        assert!(loading.iter().all(|retry| retry["retry_after_s"] == 1.0), "{told}");
        assert_eq!(told["late"], "DEADLINE_EXCEEDED", "{told}");
        assert_eq!(told["cancelled"], "CANCELLED", "{told}");
        let answered = score_again(&server, trained).await;
        assert_scores(&answered, &trained.frames[0]);
    }
}

async fn score_again(server: &Server, trained: &Trained) -> String {
    let (request, _) = request(trained);
    let mut score = tool("grpcurl");
    score.args(["-plaintext", "-d", &request, &server.address, SCORE_CLIP]);
    Finished::of(score).await.success()
}
