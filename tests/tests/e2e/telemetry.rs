//! What operators see: metrics, probes and logs.

use std::process::Stdio;

use protoguard_proto::v1::ReloadModelRequest;
use protoguard_proto::v1::model_service_client::ModelServiceClient;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, BufReader};
use tonic::{Code, Request};

use crate::clips::{encoded, from_files};
use crate::programs::{Finished, tool, workspace};
use crate::server::Server;
use crate::trained::trained;

/// Every family that dashboards rely on, and its type, as one list says it.
fn listed() -> Vec<[String; 2]> {
    let list = std::fs::read_to_string(workspace().join("k8s/tests/metrics.txt")).unwrap();
    let lines = list.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    let of_line = |line: &str| {
        let mut words = line.split_whitespace();
        // A reader of the page gives a counter's family without its suffix.
        let name = words.next().unwrap().trim_end_matches("_total");
        [name.to_owned(), words.next().unwrap().to_owned()]
    };
    lines.map(of_line).collect()
}

async fn families(probes: &str) -> Value {
    let mut read = tool("python");
    read.arg(workspace().join("tests/python/read_metrics.py"));
    read.arg(format!("http://{probes}/metrics"));
    serde_json::from_str(&Finished::of(read).await.success()).unwrap()
}

/// The sum of a sample's values over all series that have these labels.
fn sum(families: &Value, sample: &str, labels: &[(&str, &str)]) -> f64 {
    let all = families.as_object().unwrap().values();
    let samples = all.flat_map(|family| family["samples"].as_array().unwrap());
    samples
        .filter(|found| found[0] == sample)
        .filter(|found| labels.iter().all(|(key, value)| found[1][key] == *value))
        .map(|found| found[2].as_f64().unwrap())
        .sum()
}

#[tokio::test]
async fn prometheus_can_read_the_page_and_finds_every_name() {
    let trained = trained().await;
    let with_probes = ["--metrics-listen", "127.0.0.1:0"];
    let mut server = Server::start_with(&trained.checkpoint, &with_probes).await;
    let probes = server.probes().await;
    let mut client = server.scoring().await;
    for index in 0..5 {
        client.score_clip(encoded(trained, index)).await.unwrap();
    }
    let refused = client.score_clip(from_files(vec![Vec::new(); 5])).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let mut models = ModelServiceClient::connect(server.uri()).await.unwrap();
    models.reload_model(ReloadModelRequest::default()).await.unwrap();

    let families = families(&probes).await;
    let listed = listed();
    assert!(listed.len() >= 18, "{listed:?}");
    for [name, kind] in listed {
        assert_eq!(families[&name]["type"], kind, "{name}");
        assert!(!families[&name]["samples"].as_array().unwrap().is_empty(), "{name}");
    }
    let scoring = ("method", "protoguard.v1.ScoringService/ScoreClip");
    let requests = |code| sum(&families, "protoguard_requests_total", &[scoring, ("code", code)]);
    assert_eq!((requests("OK"), requests("INVALID_ARGUMENT")), (5.0, 1.0));
    let hall = ("model", "model");
    assert_eq!(sum(&families, "protoguard_clips_total", &[hall]), 5.0);
    let ok = ("outcome", "ok");
    assert_eq!(sum(&families, "protoguard_compute_duration_seconds_count", &[hall, ok]), 5.0);
    for score in ["protoguard_regularity_count", "protoguard_surprise_count"] {
        assert_eq!(sum(&families, score, &[hall, ("scene", "")]), 5.0);
    }
    assert_eq!(sum(&families, "protoguard_model_info", &[hall, ("device", "cpu")]), 1.0);
    assert_eq!(sum(&families, "protoguard_reloads_total", &[hall, ok]), 1.0);
}

#[tokio::test]
async fn a_request_id_is_in_the_answer_and_in_every_line_about_the_request() {
    let trained = trained().await;
    let talkative = ["--log-format", "json", "--log-level", "protoguard_service=debug,info"];
    let server = Server::start_with(&trained.checkpoint, &talkative).await;
    let mut client = server.scoring().await;
    let mut named = encoded(trained, 0);
    named.request_id = "camera-7".to_owned();
    client.score_clip(named).await.unwrap();
    // A request without one is given one.
    let given = client.score_clip(encoded(trained, 1)).await.unwrap().into_inner().request_id;
    assert!(!given.is_empty());
    server.signal("TERM").await;
    let (status, log) = server.ended().await;
    assert!(status.success(), "{log}");
    let lines: Vec<Value> = log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for id in ["camera-7", &given] {
        let about = lines.iter().find(|line| line["span"]["request_id"] == id);
        assert_eq!(about.unwrap_or_else(|| panic!("{id}: {log}"))["message"], "clip scored");
    }
}

#[tokio::test]
async fn a_collector_that_is_away_disturbs_nobody() {
    let trained = trained().await;
    let away = ["--otlp-endpoint", "http://127.0.0.1:9"];
    let server = Server::start_with(&trained.checkpoint, &away).await;
    server.scoring().await.score_clip(encoded(trained, 0)).await.unwrap();
    server.signal("TERM").await;
    let (status, log) = server.ended().await;
    assert!(status.success(), "{log}");
}

#[tokio::test]
async fn a_collector_is_sent_the_steps_of_a_request_in_its_callers_trace() {
    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";
    let trained = trained().await;
    let mut collect = tool("python");
    collect.arg(workspace().join("tests/python/collect_traces.py"));
    collect.args(["protoguard-server", "score_clip", "camera-8", "decode", "queue_and_compute"]);
    // The trace that the caller says it is in, and its span as the parent.
    collect.args([TRACE, SPAN].map(|id| format!("hex:{id}")));
    let mut collector = collect.stdout(Stdio::piped()).spawn().unwrap();
    let mut said = BufReader::new(collector.stdout.take().unwrap()).lines();
    let line = said.next_line().await.unwrap().unwrap();
    let endpoint = format!("http://{}", line.strip_prefix("collecting on ").unwrap());
    let server = Server::start_with(&trained.checkpoint, &["--otlp-endpoint", &endpoint]).await;
    let mut request = encoded(trained, 0);
    request.request_id = "camera-8".to_owned();
    let mut request = Request::new(request);
    let parent = format!("00-{TRACE}-{SPAN}-01");
    request.metadata_mut().insert("traceparent", parent.parse().unwrap());
    server.scoring().await.score_clip(request).await.unwrap();
    // What is left is sent at the end.
    server.signal("TERM").await;
    assert!(server.ended().await.0.success());
    assert_eq!(said.next_line().await.unwrap().as_deref(), Some("collected"));
    assert!(collector.wait().await.unwrap().success());
}
