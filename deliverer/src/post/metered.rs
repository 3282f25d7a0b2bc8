//! A socket that bounds how many bytes may arrive while we send nothing: endless status lines, headers, 1xx responses, or
//! HTTP/2 frames that need no reply.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll},
};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::dial::Socket;

/// Largest head of a response (status line and all headers), in bytes.
pub(super) const MAX_HEAD: usize = 64 * 1024;
/// Bytes of a body that may be sent ahead of its reader over HTTP/2. A connection may be ahead by four times that.
pub(super) const WINDOW: u32 = 64 * 1024;
/// Bytes that may arrive over HTTP/2 before we send something again. Many responses share a connection: their windows are
/// 256 KiB together, and each has a head.
pub(super) const MAX_UNASKED_H2: u64 = 16 << 20;

pub(super) struct Metered {
    socket: Socket,
    max_unasked: u64,
    unasked: u64,
}

#[derive(Debug, thiserror::Error)]
#[error("the receiver sent more than a response may have")]
pub(super) struct TooManyBytes;

impl Metered {
    pub(super) fn new(socket: Socket, max_unasked: u64) -> Self {
        Self { socket, max_unasked, unasked: 0 }
    }

    fn sent(&mut self, sent: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if matches!(sent, Poll::Ready(Ok(1..))) {
            self.unasked = 0;
        }
        sent
    }
}

impl AsyncRead for Metered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.unasked > self.max_unasked {
            return Poll::Ready(Err(io::Error::other(TooManyBytes)));
        }
        let before = buf.filled().len();
        let read = Pin::new(&mut self.socket).poll_read(cx, buf);
        self.unasked += (buf.filled().len() - before) as u64;
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
