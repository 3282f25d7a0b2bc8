//! A socket that takes no more than it asked for: what comes without our sending anything is bounded, whatever it is
//! (status lines without end, header after header, 1xx after 1xx, frames that ask for no answer).

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Socket;

/// An answer's head, at most: the status line and all headers.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// What one answer's body may be ahead of its reader over HTTP/2; a connection's may be four times that.
pub(super) const WINDOW: u32 = 64 * 1024;
/// Over HTTP/2 many answers share a connection; their windows are 256 KiB together, and one head each.
pub(super) const MAX_UNASKED_H2: u64 = 16 << 20;

/// A socket and what came since we last sent something.
pub(super) struct Metered {
    socket: Socket,
    most: u64,
    came: u64,
}

/// Told as an error of I/O.
#[derive(Debug, thiserror::Error)]
#[error("more came than any answer may have")]
pub(super) struct TooMuch;

impl Metered {
    /// At most `most` bytes may come at a time.
    pub(super) fn new(socket: Socket, most: u64) -> Self {
        Self { socket, most, came: 0 }
    }

    fn sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(sent, Poll::Ready(Ok(1..))) {
            self.came = 0;
        }
        sent
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.came > self.most {
            return Poll::Ready(Err(io::Error::other(TooMuch)));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.came += (buf.filled().len() - before) as u64;
        read
    }
}

impl AsyncWrite for Metered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.socket).poll_write(cx, buf);
        self.sent(sent)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = Pin::new(&mut self.socket).poll_write_vectored(cx, bufs);
        self.sent(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.socket.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}
