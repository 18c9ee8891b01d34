//! Thousands of broken requests over a real socket: never a panic, and only codes of the one table
//! of errors. A program of its own, because it watches for panics of the whole process.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod raw;
mod requests;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use prost::Message;
use protoguard_fuzz::Budget;
use protoguard_proto::v1;
use protoguard_service::testing::FakeFactory;
use protoguard_service::{DOMAIN, ServiceConfig};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tonic::transport::Channel;
use tonic::{Code, Status};
use tonic_types::StatusExt;

use requests::Broken;

const REQUESTS: u64 = 10_000;
const IN_FLIGHT: usize = 16;
/// Longer than any answer takes, so that a request without one fails the test.
const PATIENCE: Duration = Duration::from_secs(60);

static PANICS: AtomicUsize = AtomicUsize::new(0);

/// A request and its answer, as its code.
struct Answered {
    message: Vec<u8>,
    answer: Result<v1::ScoreClipResponse, Status>,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_broken_requests_are_answered_with_the_tables_codes() {
    let before = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        PANICS.fetch_add(1, Ordering::SeqCst);
        before(panic);
    }));
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    let (stop, stopped) = oneshot::channel::<()>();
    let config = ServiceConfig { max_message_bytes: 1 << 20, ..ServiceConfig::new("hall") };
    let models = vec![FakeFactory::new("hall").spec(2)];
    let serving = tokio::spawn(protoguard_service::run(listener, models, config, async move {
        let _ = stopped.await;
    }));
    let channel = Channel::from_shared(address).unwrap().connect().await.unwrap();
    until_serving(&channel).await;

    let codes = send_all(&channel).await;
    for code in ["Ok", "InvalidArgument", "NotFound"] {
        assert!(codes.contains_key(code), "not one request was answered {code}: {codes:?}");
    }
    assert_eq!(PANICS.load(Ordering::SeqCst), 0, "{codes:?}");
    // Whatever came before, a good clip is scored.
    let good = raw::score(channel, requests::good()).await.unwrap();
    assert!(good.psnr_db.is_some());
    stop.send(()).unwrap();
    serving.await.unwrap().unwrap();
}

/// Until the workers are warm, a good clip is answered UNAVAILABLE.
async fn until_serving(channel: &Channel) {
    while let Err(status) = raw::score(channel.clone(), requests::good()).await {
        assert_eq!(status.code(), Code::Unavailable, "{status:?}");
        tokio::task::yield_now().await;
    }
}

/// How many answers of each code there were.
async fn send_all(channel: &Channel) -> BTreeMap<String, usize> {
    let mut budget = Budget::of(REQUESTS);
    let mut broken = Broken::new(budget.seed());
    let mut in_flight: JoinSet<Answered> = JoinSet::new();
    let mut codes = BTreeMap::new();
    let mut take = |answered: Answered| *codes.entry(check(&answered)).or_default() += 1;
    while budget.spend() {
        if in_flight.len() == IN_FLIGHT {
            take(in_flight.join_next().await.unwrap().unwrap());
        }
        let message = broken.next_message();
        let channel = channel.clone();
        in_flight.spawn(async move {
            let answer = tokio::time::timeout(PATIENCE, raw::score(channel, message.clone()));
            Answered { answer: answer.await.expect("every request has an answer"), message }
        });
    }
    in_flight.join_all().await.into_iter().for_each(take);
    codes
}

/// The name of the code, after a check that the request deserved it.
fn check(answered: &Answered) -> String {
    let Err(status) = &answered.answer else { return format!("{:?}", Code::Ok) };
    let parsed = v1::ScoreClipRequest::decode(&answered.message[..]);
    let what = || format!("{status:?} to {parsed:?}");
    let info = status.get_details_error_info().unwrap_or_else(|| panic!("no info: {}", what()));
    assert_eq!(info.domain, DOMAIN, "{}", what());
    match status.code() {
        Code::InvalidArgument if parsed.is_err() => {
            assert_eq!(info.reason, "UNREADABLE_MESSAGE", "{}", what());
        }
        Code::InvalidArgument => {
            let fields = status.get_details_bad_request().map(|found| found.field_violations);
            assert!(fields.is_some_and(|fields| !fields.is_empty()), "{}", what());
        }
        Code::NotFound if parsed.is_ok() => {}
        Code::ResourceExhausted if answered.message.len() > 1 << 20 => {}
        _ => panic!("no code for such a request: {}", what()),
    }
    format!("{:?}", status.code())
}
