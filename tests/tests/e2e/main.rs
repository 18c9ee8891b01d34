//! One program for all end-to-end tests, so that they link once.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod bad_files;
mod batching;
mod clips;
mod credentials;
mod drain;
mod foreign_clients;
mod health;
mod inference;
mod loading;
mod programs;
mod real_video;
mod refusals;
mod reloads;
mod reports;
mod resume;
mod scores;
mod server;
mod streams;
mod telemetry;
mod trained;
mod trainer_commands;
mod trainer_log;
