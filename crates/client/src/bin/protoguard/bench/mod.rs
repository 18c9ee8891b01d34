//! `protoguard bench`: loads a server and measures its rate and latency.
//!
//! A closed loop of N callers finds what the server can do; an open loop at a rate finds what its
//! callers feel. The open loop does not wait for answers and counts latency from the time that a
//! clip was due, so that a server cannot hide a stall by being asked less during it (coordinated
//! omission). Nothing is tried again: the first answer is the one that counts.

mod arguments;
mod ledger;
mod load;
mod payload;
pub(crate) mod report;
mod table;
mod windows;

use std::io::{self, IsTerminal, Write};
use std::process::ExitCode;
use std::time::{Duration, Instant};

use protoguard_client::{Client, ClientOptions, RetryPolicy};
use protoguard_core::ClipShape;
use protoguard_proto::{card_from_wire, v1};

pub(crate) use arguments::BenchArguments;
use arguments::BenchFormat;
use load::{Arrivals, Load, Target};
use report::{Findings, LoadDescription, Report};
use windows::{Span, Window, stable};

use crate::output::Output;

/// Connects, loads, and writes what was found. The exit code tells whether there was an answer to
/// every request, not whether it was the wished one.
pub(crate) async fn run(arguments: BenchArguments) -> anyhow::Result<ExitCode> {
    let mut output = Output::open(arguments.output.as_deref())?;
    // The deadline of the load may be one that nothing can meet.
    let client = Client::connect(&arguments.server.address, ClientOptions::default()).await?;
    let model = client.model(&arguments.model).await?;
    let clients = connect(&arguments).await?;
    let shape = card_from_wire(model.clone())?.shape;
    let report = measure(&arguments, clients, &model, shape).await?;
    match arguments.format {
        BenchFormat::Table => write!(output, "{}", table::render(&report))?,
        BenchFormat::Json => {
            serde_json::to_writer(&mut output, &report).map_err(io::Error::from)?;
            output.write_all(b"\n")?;
        }
    }
    output.complete()?;
    anyhow::ensure!(
        report.sent == report.answered,
        "{} requests were sent and {} answered",
        report.sent,
        report.answered
    );
    Ok(ExitCode::SUCCESS)
}

/// One client a connection. A call is tried once.
async fn connect(arguments: &BenchArguments) -> anyhow::Result<Vec<Client>> {
    let retry = RetryPolicy { max_attempts: 1, ..Default::default() };
    let options = ClientOptions { retry, ..arguments.server.options() };
    let mut clients = Vec::new();
    for _ in 0..arguments.connections {
        clients.push(Client::connect(&arguments.server.address, options.clone()).await?);
    }
    Ok(clients)
}

async fn measure(
    arguments: &BenchArguments,
    clients: Vec<Client>,
    model: &v1::Model,
    shape: ClipShape,
) -> anyhow::Result<Report> {
    let requests = payload::requests(arguments, shape)?;
    let description = LoadDescription::new(arguments, &requests);
    let arrivals = match arguments.rate {
        Some(per_second) => Arrivals::Poisson { per_second, seed: arguments.seed },
        None => Arrivals::Closed { callers: usize::from(arguments.clients) },
    };
    let limit = arguments.requests.unwrap_or(u64::MAX);
    let deadline = Duration::from_millis(arguments.server.deadline_ms);
    let mut load = Load::start(Target { clients, requests, deadline, limit }, arrivals)?;
    let watched = match arguments.requests {
        Some(count) => watch_requests(&load, count).await,
        None => watch_windows(&load, arguments).await,
    };
    load.stop().await?;
    let answers = load.ledger().answers();
    let findings = Findings {
        model,
        load: description,
        stable: watched.stable,
        windows: watched.windows,
        measured: watched.measured,
        sent: load.ledger().sent(),
        answers: &answers,
    };
    Ok(findings.report())
}

/// What was seen while the load ran.
struct Watched {
    windows: Vec<Window>,
    stable: bool,
    measured: Span,
}

async fn watch_requests(load: &Load, count: u64) -> Watched {
    let start = Instant::now();
    load.ledger().answered(count).await;
    Watched { windows: Vec::new(), stable: true, measured: Span { start, end: Instant::now() } }
}

async fn watch_windows(load: &Load, arguments: &BenchArguments) -> Watched {
    tokio::time::sleep(Duration::from_millis(arguments.warm_up_ms)).await;
    let length = Duration::from_millis(arguments.window_ms);
    let wanted = usize::from(arguments.stable_windows);
    let (mut windows, mut spans) = (Vec::new(), Vec::new());
    let mut start = Instant::now();
    let mut agreed = false;
    // How many answers there were when the last window began, and the one before it: a window is
    // measured from the last answer before it, and an answer is written down a little after it
    // came.
    let (mut before_last, mut before) = (0, 0);
    while !agreed && windows.len() < usize::from(arguments.max_windows) {
        tokio::time::sleep_until((start + length).into()).await;
        let span = Span { start, end: Instant::now() };
        let (answers, count) = load.ledger().answers_after(before_last);
        (before_last, before) = (before, count);
        let window = Window::measure(&answers, span);
        say(windows.len() + 1, &window);
        windows.push(window);
        spans.push(span);
        start = span.end;
        agreed = stable(&windows, wanted, arguments.tolerance);
    }
    let first = spans[spans.len().saturating_sub(wanted)];
    Watched { windows, stable: agreed, measured: Span { start: first.start, end: start } }
}

/// Progress, where somebody watches.
fn say(number: usize, window: &Window) {
    let mut err = io::stderr();
    if err.is_terminal() {
        let latency = window.mean_ms.map_or("-".to_owned(), |ms| format!("{ms:.2}"));
        // Nobody is left to tell where standard error is closed.
        let _ = writeln!(
            err,
            "window {number}: {:.2} clips/s, mean {latency} ms, {} failed",
            window.clips_per_second, window.failed
        );
    }
}
