//! Bounds on connections and on what they carry: those that are configured, and those of HTTP/2.

use std::time::Duration;

/// A whole f32 clip of 256² is 4 MB and fits one stream's window: no round trip in between.
pub(super) const STREAM_WINDOW: u32 = 8 << 20;
/// A few such clips at once.
pub(super) const CONNECTION_WINDOW: u32 = 32 << 20;
/// Bytes of a frame of HTTP/2 that callers may send. Each is read whole, so a megabyte in frames of
/// the usual 16 KiB wakes its connection 64 times; but a connection can hold one that nobody counts.
pub(super) const MAX_FRAME_BYTES: u32 = 128 << 10;
/// Unset, hyper's own bound would be removed.
pub(super) const MAX_CONCURRENT_STREAMS: u32 = 512;
/// Callers that say nothing for so long are asked whether they are there.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(30);
/// When it is time to stop, a caller that has connected may take so long to send its first bytes,
/// and one that was told to go away so long to close its end. A socket that closes with bytes unread
/// resets its connection, and the caller could not tell whether it was heard; a busy machine may
/// keep a caller from its work for a while.
pub(super) const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// Bounds on connections and on the requests that they carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ConnectionConfig {
    /// More are closed at once.
    pub max_connections: usize,
    /// A connection gets a GOAWAY at about this age, so that callers spread over new replicas.
    pub max_age: Option<Duration>,
    /// Time until the first bytes, or until the TLS handshake is finished.
    pub first_word_timeout: Duration,
    /// Time for a request's message to arrive in full.
    pub receive_timeout: Duration,
    /// Bytes of all messages that are being received; admission counts them from then on. A lone
    /// message is always received.
    pub max_receiving_bytes: usize,
}

impl Default for ConnectionConfig {
    fn default() -> Self {
        Self {
            max_connections: 4096,
            max_age: None,
            first_word_timeout: Duration::from_secs(20),
            receive_timeout: Duration::from_secs(60),
            max_receiving_bytes: 256 << 20,
        }
    }
}
