//! One end of an HTTP/1.1 connection that is kept alive. The load and the receivers share the cores with what they measure,
//! so they do as little as HTTP allows: no pool, no parsed headers, no body that is kept.

use std::{io, net::SocketAddr};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
};

/// Largest head of a message, in bytes.
const MAX_HEAD: usize = 64 * 1024;

pub(super) struct Connection {
    stream: TcpStream,
    buffer: BytesMut,
}

/// A request or a response.
pub(super) struct Message {
    /// The first line and all headers, as they were sent.
    head: Bytes,
    pub(super) body: Bytes,
}

impl Connection {
    pub(super) fn new(stream: TcpStream) -> io::Result<Self> {
        stream.set_nodelay(true)?;
        Ok(Self { stream, buffer: BytesMut::with_capacity(16 * 1024) })
    }

    /// Gets a page on a connection of its own.
    pub(super) async fn get(address: SocketAddr, path: &str) -> io::Result<Message> {
        let mut connection = Self::new(TcpStream::connect(address).await?)?;
        connection.write(format!("GET {path} HTTP/1.1\r\nhost: {address}\r\n\r\n").as_bytes()).await?;
        connection.read().await?.ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }

    pub(super) async fn write(&mut self, message: &[u8]) -> io::Result<()> {
        self.stream.write_all(message).await
    }

    /// Reads the next message. `None` when the other end has closed the connection.
    pub(super) async fn read(&mut self) -> io::Result<Option<Message>> {
        let length = loop {
            if let Some(at) = self.buffer.windows(4).position(|bytes| bytes == b"\r\n\r\n") {
                break at;
            }
            if self.buffer.len() > MAX_HEAD {
                return Err(invalid("a head is too large"));
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return if self.buffer.is_empty() { Ok(None) } else { Err(io::ErrorKind::UnexpectedEof.into()) };
            }
        };
        let mut message = Message { head: self.buffer.split_to(length).freeze(), body: Bytes::new() };
        self.buffer.advance(4);
        let length = match message.header("content-length") {
            Some(text) => text.parse().map_err(|_| invalid("a content-length is no number"))?,
            None if message.header("transfer-encoding").is_some() => {
                return Err(invalid("a body has no content-length"));
            }
            None => 0,
        };
        while self.buffer.len() < length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
        message.body = self.buffer.split_to(length).freeze();
        Ok(Some(message))
    }
}

impl Message {
    /// The second word of the first line: the path of a request, the status of a response.
    pub(super) fn target(&self) -> &str {
        self.text().split(' ').nth(1).unwrap_or_default()
    }

    /// A header, whose name is given in lower case.
    pub(super) fn header(&self, name: &str) -> Option<&str> {
        self.text().split("\r\n").skip(1).find_map(|line| {
            let (found, value) = line.split_once(':')?;
            found.eq_ignore_ascii_case(name).then(|| value.trim())
        })
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.head).unwrap_or_default()
    }
}

fn invalid(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn messages_of_one_connection_are_told_apart() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let mut sender = Connection::new(stream).unwrap();
        let mut receiver = Connection::new(listener.accept().await.unwrap().0).unwrap();
        sender
            .write(b"POST /1 HTTP/1.1\r\nContent-Length: 3\r\n\r\nabcPOST /2 HTTP/1.1\r\nwebhook-id: x\r\n\r\n")
            .await
            .unwrap();
        let first = receiver.read().await.unwrap().unwrap();
        assert_eq!((first.target(), &first.body[..], first.header("webhook-id")), ("/1", &b"abc"[..], None));
        let second = receiver.read().await.unwrap().unwrap();
        assert_eq!((second.target(), second.body.len(), second.header("webhook-id")), ("/2", 0, Some("x")));
        drop(sender);
        assert!(receiver.read().await.unwrap().is_none());
    }
}
