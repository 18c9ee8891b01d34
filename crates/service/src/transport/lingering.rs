//! The end of a socket: it is closed so that the caller can still read what was said last.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, ReadBuf, copy, sink};
use tokio::net::TcpStream;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;
use tokio_util::task::TaskTracker;
use tracing::debug;

use super::limits::{CLOSE_TIMEOUT, CONNECTION_WINDOW};

/// Bytes that are read for nobody: what flow control lets a caller have on its way, and its frames.
const MOST_UNREAD: u64 = 2 * CONNECTION_WINDOW as u64;

/// A socket that outlives its connection until the caller has closed its end, or for
/// [`CLOSE_TIMEOUT`].
///
/// A request may be on its way while the last answer and the GOAWAY are on theirs. A socket that is
/// closed then resets the connection, and the caller may lose both before it has read them.
#[derive(Debug)]
pub(super) struct Lingering {
    /// Absent once it is dropped.
    stream: Option<TcpStream>,
    tasks: TaskTracker,
    /// Its share of the bound on connections.
    place: Option<OwnedSemaphorePermit>,
}

impl Lingering {
    /// What is left of the socket is among `tasks`, and keeps its place among connections.
    pub(super) fn new(stream: TcpStream, tasks: TaskTracker, place: OwnedSemaphorePermit) -> Self {
        if let Err(error) = stream.set_nodelay(true) {
            debug!(error = %error, "no nodelay");
        }
        Self { stream: Some(stream), tasks, place: Some(place) }
    }

    /// As [`TcpStream::peek`].
    pub(super) async fn peek(&self, bytes: &mut [u8]) -> io::Result<usize> {
        match &self.stream {
            Some(stream) => stream.peek(bytes).await,
            None => Ok(0),
        }
    }

    fn open(self: Pin<&mut Self>) -> io::Result<Pin<&mut TcpStream>> {
        let stream = self.get_mut().stream.as_mut();
        stream.map(Pin::new).ok_or_else(|| io::ErrorKind::NotConnected.into())
    }
}

impl Drop for Lingering {
    fn drop(&mut self) {
        let (Some(mut stream), Ok(runtime)) =
            (self.stream.take(), tokio::runtime::Handle::try_current())
        else {
            return;
        };
        let place = self.place.take();
        let linger = async move {
            let _ = stream.shutdown().await;
            // What still comes is for nobody.
            let mut rest = stream.take(MOST_UNREAD);
            let _ = timeout(CLOSE_TIMEOUT, copy(&mut rest, &mut sink())).await;
            drop(place);
        };
        self.tasks.spawn_on(linger, &runtime);
    }
}

impl AsyncRead for Lingering {
    fn poll_read(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.open()?.poll_read(context, bytes)
    }
}

impl AsyncWrite for Lingering {
    fn poll_write(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.open()?.poll_write(context, bytes)
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.open()?.poll_shutdown(context)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.open()?.poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.as_ref().is_some_and(AsyncWrite::is_write_vectored)
    }
}
