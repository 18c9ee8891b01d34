//! `protoguard bench-streams`: cameras that stream to one server or to several.
//!
//! Every camera sends drawn frames and holds the answers against them: one each, in order. A stream
//! that its server ends goes on at the next one with its token, and what was not answered is sent
//! again, as an agent beside a camera would do it.

mod arguments;
mod camera;
mod pictures;
mod tally;

use std::io::{self, Write};
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context;
use protoguard_client::{Client, ClientOptions};
use protoguard_core::ClipShape;
use protoguard_proto::card_from_wire;
use tokio::task::JoinSet;
use tokio::time::Instant;

pub(crate) use arguments::BenchStreamsArguments;
use camera::{Camera, Plan, Servers};
use pictures::Pictures;
use tally::{Report, Tally};

use crate::output::Output;

/// Streams every camera to its end, and writes what became of their frames.
pub(crate) async fn run(arguments: BenchStreamsArguments) -> anyhow::Result<ExitCode> {
    let mut output = Output::open(arguments.output.as_deref())?;
    let first = arguments.address.first().context("--address names no server")?;
    let client = Client::connect(first, ClientOptions::default()).await?;
    let card = card_from_wire(client.model(&arguments.model).await?)?;
    let side = arguments.side.unwrap_or(card.shape.side());
    let shape = ClipShape::new(card.shape.past_frames(), side).context("--side")?;
    let pictures = Pictures::draw(shape, arguments.payload, arguments.flicker)?;
    let unary = pictures.bytes_of_a_clip(&client, &arguments.model).await?;
    let servers = Servers::new(arguments.address.clone(), arguments.connections);
    let plan = Arc::new(Plan::new(&arguments, pictures, servers));
    let started = Instant::now();
    let deaf = deaf_cameras(&plan, arguments.deaf);
    let mut cameras = JoinSet::new();
    for number in 0..arguments.streams {
        cameras.spawn(Camera::new(Arc::clone(&plan), number).run());
    }
    let mut tally = Tally::default();
    while let Some(ended) = cameras.join_next().await {
        tally.add(ended.context("a camera's task panicked")?);
    }
    let seconds = started.elapsed().as_secs_f64();
    drop(deaf);
    let report = Report::of(&arguments, &tally, seconds, unary);
    serde_json::to_writer(&mut output, &report).map_err(io::Error::from)?;
    output.write_all(b"\n")?;
    output.complete()?;
    Ok(ExitCode::SUCCESS)
}

/// Cameras that read nothing, until dropped.
fn deaf_cameras(plan: &Arc<Plan>, count: u16) -> JoinSet<()> {
    let mut deaf = JoinSet::new();
    for number in 0..count {
        let plan = Arc::clone(plan);
        deaf.spawn(async move { camera::send_and_read_nothing(&plan, number).await });
    }
    deaf
}
