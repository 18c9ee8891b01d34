//! The client and its command against a server that answers from a script.

#![allow(clippy::unwrap_used, reason = "a test that cannot be set up should fail loudly")]

mod bench;
mod calls;
mod command;
mod server;
