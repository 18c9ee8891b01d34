//! The client and its command against a server that answers from a script.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]
#![allow(clippy::print_stdout, reason = "a skipped test says so")]

mod bench;
mod calls;
mod command;
mod interval;
mod server;
