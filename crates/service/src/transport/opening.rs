//! The beginning of a connection: a bound on the time until its caller speaks HTTP/2.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// The words with which HTTP/2 begins: `PRI * HTTP/2.0`, a blank line, `SM`, a blank line.
const PREFACE_BYTES: usize = 24;

/// A connection that fails unless its caller has said the preface before `too_late` resolves.
///
/// hyper waits for it without a limit, and neither its pings nor a graceful shutdown begin before.
pub(super) struct Opening<S> {
    stream: S,
    /// Bytes of the preface that have not come.
    missing: usize,
    too_late: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl<S> Opening<S> {
    pub(super) fn new(stream: S, too_late: impl Future<Output = ()> + Send + 'static) -> Self {
        Self { stream, missing: PREFACE_BYTES, too_late: Box::pin(too_late) }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = bytes.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(context, bytes);
        if self.missing == 0 {
            return read;
        }
        self.missing = self.missing.saturating_sub(bytes.filled().len() - filled);
        if read.is_pending() && self.too_late.as_mut().poll(context).is_ready() {
            return Poll::Ready(Err(io::ErrorKind::TimedOut.into()));
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, pieces)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}
