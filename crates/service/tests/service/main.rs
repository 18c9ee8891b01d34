//! The service over real sockets, with scorers that need no network.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod batch_calls;
mod batching;
mod bench;
mod camera;
mod clocks;
mod connections;
mod credentials;
mod deadlines;
mod errors;
mod failures;
mod lifecycle;
mod messages;
mod reloads;
mod responses;
mod stream_ends;
mod stream_openings;
mod stream_views;
mod streams;
mod telemetry;
mod wire;
mod workers;
