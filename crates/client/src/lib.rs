//! The typed client of a Protoguard server.
//!
//! [`Client`] speaks `protoguard.v1` with what a caller would otherwise have to remember: message
//! limits and HTTP/2 windows that fit clips, one deadline over a call and all its retries, and
//! retries only where the server says that trying again helps ([`RetryPolicy`]).
//!
//! Deliberately absent: libtorch, and pictures; what the `protoguard` command adds to the calls
//! lives in the command.

mod client;
mod error;
mod retry;
mod stream;

pub use client::{Client, ClientOptions, Health};
pub use error::ClientError;
pub use retry::RetryPolicy;
pub use stream::{CameraStream, FrameSlot, StreamAnswers, StreamFrames};
