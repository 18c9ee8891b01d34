//! `protoguard bench` against the real service, with a scorer whose time is known.

use std::path::Path;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use protoguard_client::{Client, ClientOptions, RetryPolicy};
use protoguard_service::testing::FakeFactory;
use protoguard_service::{ConnectionConfig, ServeError, ServiceConfig};
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::process::Command;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;

/// What a forward pass takes.
const FORWARD: Duration = Duration::from_millis(4);
/// What one forward pass takes once.
const STALL: Duration = Duration::from_millis(400);

/// The service on a free port.
struct Served {
    address: String,
    stop: oneshot::Sender<()>,
    ended: JoinHandle<Result<(), ServeError>>,
}

fn config() -> ServiceConfig {
    ServiceConfig { warm_up_batch_sizes: Vec::new(), ..ServiceConfig::new("hall") }
}

impl Served {
    async fn start(factory: FakeFactory, config: ServiceConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = format!("http://{}", listener.local_addr().unwrap());
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async move {
            let _ = stopped.await;
        };
        let serving = protoguard_service::run(listener, vec![factory.spec(1)], config, shutdown);
        let served = Self { address, stop, ended: tokio::spawn(serving) };
        served.until_serving().await;
        served
    }

    /// The client's own retries wait for the workers to be warm.
    async fn until_serving(&self) {
        let client = protoguard_client::Client::connect(&self.address, Default::default());
        let probe = protoguard_proto::v1::ScoreClipRequest {
            clip: Some(protoguard_proto::v1::score_clip_request::Clip::TestClip(1)),
            ..Default::default()
        };
        client.await.unwrap().score_clip(probe).await.unwrap();
    }

    async fn bench(&self, more: &[&str]) -> Output {
        self.command(more).output().await.unwrap()
    }

    fn command(&self, more: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_protoguard"));
        command.args(["bench", "--address", &self.address]).args(more);
        command.env_remove("PROTOGUARD_ADDRESS").stdin(Stdio::null()).kill_on_drop(true);
        command
    }

    async fn report(&self, more: &[&str]) -> Value {
        let output = self.bench(&[&["--format", "json"], more].concat()).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && stderr.is_empty(), "{stderr}");
        let report: Value = serde_json::from_slice(&output.stdout).unwrap();
        assert_eq!(report["sent"], report["answered"], "{report}");
        let codes = report["codes"].as_object().unwrap().values();
        assert_eq!(codes.map(|n| n.as_u64().unwrap()).sum::<u64>(), report["sent"], "{report}");
        report
    }

    async fn end(self) {
        self.stop.send(()).unwrap();
        self.ended.await.unwrap().unwrap();
    }
}

fn steady() -> FakeFactory {
    FakeFactory::new("hall").on_score(|_| {
        std::thread::sleep(FORWARD);
        Ok(())
    })
}

/// The sixth forward pass takes long; the first is the probe's.
fn stalling() -> FakeFactory {
    stalling_and_counting(Arc::default())
}

/// The same, which notes the clips of every pass.
fn stalling_and_counting(clips: Arc<Mutex<Vec<usize>>>) -> FakeFactory {
    FakeFactory::new("hall").on_score(move |batch| {
        let mut clips = clips.lock().unwrap();
        clips.push(batch.len());
        std::thread::sleep(if clips.len() == 6 { STALL } else { Duration::ZERO });
        Ok(())
    })
}

fn number(report: &Value, path: &str) -> f64 {
    report.pointer(path).and_then(Value::as_f64).unwrap_or_else(|| panic!("no {path}: {report}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_closed_loop_measures_windows_until_they_agree() {
    let served = Served::start(steady(), config()).await;
    let windows = ["--warm-up-ms", "100", "--window-ms", "250", "--max-windows", "8"];
    let clients = ["--clients", "4", "--connections", "2", "--tolerance", "0.9"];
    let report = served.report(&[&windows[..], &clients].concat()).await;
    assert_eq!((&report["stable"], &report["load"]["clients"]), (&true.into(), &4.into()));
    assert_eq!(report["windows"].as_array().unwrap().len(), 3, "{report}");
    assert_eq!(report["load"]["clip_bytes"], 5 * 16 * 16 * 3);
    // Four callers ride in at most four clips a pass of 4 ms.
    let rate = number(&report, "/clips_per_second");
    assert!(rate > 0.0 && rate <= 4.0 / FORWARD.as_secs_f64(), "{rate}");
    assert_eq!(report["clips_per_second"], report["goodput_per_second"]);
    assert!(number(&report, "/latency_ms/min") >= FORWARD.as_secs_f64() * 1e3, "{report}");
    assert!(number(&report, "/compute_ms/p50") >= 4.0, "{report}");
    let batch = number(&report, "/mean_batch_size");
    assert!((1.0..=4.0).contains(&batch), "{report}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_client_outlives_its_connections() {
    let max_age = Some(Duration::from_millis(30));
    let connections = ConnectionConfig { max_age, ..ConnectionConfig::default() };
    let served = Served::start(steady(), ServiceConfig { connections, ..config() }).await;
    // A connection is about as old as a call is long: a call may meet the end of several.
    let retry = RetryPolicy {
        max_attempts: 100,
        max_backoff: Duration::from_millis(50),
        ..RetryPolicy::default()
    };
    let options = ClientOptions { retry, ..ClientOptions::default() };
    let client = Client::connect(&served.address, options).await.unwrap();
    let mut callers = tokio::task::JoinSet::new();
    for _ in 0..8 {
        let client = client.clone();
        callers.spawn(async move {
            for _ in 0..60 {
                let probe = protoguard_proto::v1::ScoreClipRequest {
                    clip: Some(protoguard_proto::v1::score_clip_request::Clip::TestClip(1)),
                    ..Default::default()
                };
                // Many a GOAWAY comes between two calls.
                client.score_clip(probe).await.unwrap();
            }
        });
    }
    callers.join_all().await;
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_load_that_never_agrees_ends_and_says_so() {
    let served = Served::start(stalling(), config()).await;
    // The stall falls into one of the first windows, and the rates differ by far.
    let load = ["--rate", "200", "--warm-up-ms", "0", "--window-ms", "100", "--max-windows", "3"];
    let report = served.report(&[&load[..], &["--tolerance", "0.0001"]].concat()).await;
    assert_eq!(report["stable"], false, "{report}");
    assert_eq!(report["windows"].as_array().unwrap().len(), 3);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stall_shows_in_the_open_loops_tail_and_hides_in_the_closed_loop() {
    let served = Served::start(stalling(), config()).await;
    let report = served.report(&["--rate", "100", "--requests", "150", "--seed", "1"]).await;
    served.end().await;
    // About forty clips fall due while the server stalls: they waited from then on.
    let stall = STALL.as_secs_f64() * 1e3;
    assert!(number(&report, "/latency_ms/max") >= 0.8 * stall, "{report}");
    let open_p90 = number(&report, "/latency_ms/p90");
    assert!(open_p90 >= 0.25 * stall, "{report}");

    let clips = Arc::<Mutex<Vec<usize>>>::default();
    let served = Served::start(stalling_and_counting(Arc::clone(&clips)), config()).await;
    let report = served.report(&["--clients", "1", "--requests", "150"]).await;
    served.end().await;
    assert!(number(&report, "/latency_ms/max") >= stall, "{report}");
    // Every pass had a clip to itself, so that one clip alone waited: the tail knows of no other.
    assert_eq!(*clips.lock().unwrap(), [1; 151]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_open_loop_keeps_its_rate() {
    let served = Served::start(steady(), config()).await;
    let report = served.report(&["--rate", "100", "--requests", "200", "--seed", "2"]).await;
    assert_eq!((&report["sent"], &report["load"]["mode"]), (&200.into(), &"open".into()));
    // 200 exponential gaps of 10 ms: 2 s, less a few times their deviation of 0.14 s. No arrival is
    // early; how late the last answer is depends on the machine.
    let seconds = number(&report, "/measured/seconds");
    assert!(seconds >= 1.4, "{seconds}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_after_the_deadline_are_no_goodput() {
    let slow = FakeFactory::new("hall").on_score(|batch| {
        // The probe of the test passes; the load's clips do not meet their deadline.
        std::thread::sleep(Duration::from_millis(50 * batch.len() as u64));
        Ok(())
    });
    let served = Served::start(slow, config()).await;
    let report = served.report(&["--clients", "2", "--requests", "6", "--deadline-ms", "20"]).await;
    assert_eq!((&report["good"], &report["goodput_per_second"]), (&0.into(), &0.0.into()));
    assert_eq!(report["codes"]["DEADLINE_EXCEEDED"], 6, "{report}");
    assert!(report["latency_ms"].is_null(), "{report}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn every_refusal_is_counted_under_its_code() {
    let mut tight = config();
    tight.admission.max_clips = 1;
    let served = Served::start(steady(), tight).await;
    let report = served.report(&["--clients", "4", "--requests", "40"]).await;
    assert!(report["codes"]["RESOURCE_EXHAUSTED"].as_u64().unwrap() > 0, "{report}");
    assert!(report["codes"]["OK"].as_u64().unwrap() > 0, "{report}");
    let failure = report["failures"]["RESOURCE_EXHAUSTED"].as_str().unwrap();
    assert!(failure.contains("overloaded"), "{failure}");
    let report = served.report(&["--requests", "5", "--scene", "attic"]).await;
    assert_eq!(report["codes"]["NOT_FOUND"], 5, "{report}");
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_goes_away_is_counted_and_ends_nothing() {
    let (passed, mut passes) = tokio::sync::mpsc::unbounded_channel();
    let factory = FakeFactory::new("hall").on_score(move |_| {
        // The test stops listening before the service does.
        let _ = passed.send(());
        Ok(())
    });
    let served = Served::start(factory, config()).await;
    let windows = ["--warm-up-ms", "0", "--window-ms", "1000", "--max-windows", "3"];
    let mut command = served.command(&[&["--format", "json"], &windows[..]].concat());
    let child = command.stdout(Stdio::piped()).spawn().unwrap();
    for _ in 0..10 {
        let pass = tokio::time::timeout(Duration::from_secs(30), passes.recv()).await;
        pass.expect("ten passes before the load ends").unwrap();
    }
    served.end().await;
    let output = child.wait_with_output().await.unwrap();
    assert!(output.status.success(), "{output:?}");
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["sent"], report["answered"], "{report}");
    assert!(report["codes"]["OK"].as_u64().unwrap() > 0, "{report}");
    assert!(report["codes"]["UNREACHABLE"].as_u64().unwrap() > 0, "{report}");
}

/// Six frames of 32 by 24 pixels, each of its own gray.
fn frames(folder: &Path) {
    for index in 0..6u8 {
        let picture = image::RgbImage::from_pixel(32, 24, image::Rgb([index * 10; 3]));
        picture.save(folder.join(format!("{index}.jpg"))).unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_a_folder_travel_as_jpeg_and_the_table_is_a_whole_file() {
    let served = Served::start(steady(), config()).await;
    let folder = tempfile::tempdir().unwrap();
    frames(folder.path());
    let out = tempfile::tempdir().unwrap();
    let table = out.path().join("table.txt");
    let (folder, table) = (folder.path().to_str().unwrap(), table.to_str().unwrap());
    let load = ["--frames", folder, "--view", "full", "--requests", "4", "--output", table];
    let output = served.bench(&load).await;
    assert!(output.status.success() && output.stdout.is_empty(), "{output:?}");
    let text = std::fs::read_to_string(table).unwrap();
    for line in ["model hall@fake", "4 sent, 4 answered: OK 4", "clips/s"] {
        assert!(text.contains(line), "{text}");
    }
    assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 1);
    served.end().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_measured_is_one_line_and_leaves_no_file() {
    let served = Served::start(steady(), config()).await;
    let out = tempfile::tempdir().unwrap();
    let file = out.path().join("bench.json");
    let cases: [(&[&str], i32, &str); 4] = [
        (&["--model", "attic"], 1, "attic"),
        (&["--side", "60"], 1, "side is 60"),
        (&["--rate", "0"], 2, "a number above 0 is expected"),
        (&["--rate", "5", "--clients", "2"], 2, "cannot be used with"),
    ];
    for (more, code, named) in cases {
        let output = served.bench(&[&["--output", file.to_str().unwrap()], more].concat()).await;
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{stderr}");
        assert!(stderr.lines().count() == 1 && stderr.contains(named), "{stderr}");
        assert_eq!(std::fs::read_dir(out.path()).unwrap().count(), 0);
    }
    served.end().await;
}
