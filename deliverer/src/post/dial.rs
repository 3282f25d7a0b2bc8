//! Opens a socket to the first of several addresses that accepts a connection.

use std::{
    collections::VecDeque,
    io,
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use futures_util::{FutureExt as _, StreamExt as _, future::BoxFuture, stream::FuturesUnordered};
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};

pub(crate) trait ByteStream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> ByteStream for S {}
pub(crate) type Socket = Box<dyn ByteStream>;
/// Opens a connection to an address: over TCP, or in the memory of a test.
pub(crate) type Dial = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<Socket>> + Send + Sync>;

/// Time for which an address is tried alone (RFC 8305, section 8).
const STAGGER: Duration = Duration::from_millis(250);

pub(super) fn tcp() -> Dial {
    Arc::new(|address| {
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Socket)
        }
        .boxed()
    })
}

/// Returns the first connection that an address accepts. IPv4 and IPv6 addresses alternate, so that a broken family
/// costs only a moment.
pub(super) async fn first(dial: &Dial, addresses: Vec<IpAddr>, port: u16) -> io::Result<(Socket, SocketAddr)> {
    let mut left = alternating(addresses);
    let mut trying = FuturesUnordered::new();
    let mut last_error = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = left.pop_front() {
            let address = SocketAddr::new(address, port);
            trying.push(dial(address).map(move |tried| tried.map(|socket| (socket, address))));
        }
        let next = tokio::time::sleep(STAGGER);
        tokio::select! {
            tried = trying.next() => match tried {
                Some(Ok(connected)) => return Ok(connected),
                Some(Err(error)) => last_error = error,
                None => return Err(last_error),
            },
            () = next, if !left.is_empty() => {}
        }
    }
}

pub(super) fn alternating(addresses: Vec<IpAddr>) -> VecDeque<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (same, other): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut same, mut other) = (same.into_iter(), other.into_iter());
    let mut ordered = VecDeque::new();
    loop {
        let before = ordered.len();
        ordered.extend(same.next());
        ordered.extend(other.next());
        if ordered.len() == before {
            return ordered;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Notes when each address was tried. Addresses that begin with 9 accept after a second, 2001:9:: never, others refuse.
    fn dial(log: &Arc<Mutex<Vec<String>>>) -> Dial {
        let (log, began) = (log.clone(), tokio::time::Instant::now());
        Arc::new(move |address| {
            log.lock().unwrap().push(format!("{} ms: {address}", began.elapsed().as_millis()));
            async move {
                match address.ip().to_string() {
                    silent if silent.starts_with("2001:9:") => std::future::pending().await,
                    slow if slow.starts_with('9') => tokio::time::sleep(Duration::from_secs(1)).await,
                    _ => return Err(io::ErrorKind::ConnectionRefused.into()),
                }
                Ok(Box::new(tokio::io::duplex(1).0) as Socket)
            }
            .boxed()
        })
    }

    /// Tries these addresses; returns whether one accepted, and the log of tries.
    async fn tried(addresses: &[&str]) -> (bool, Vec<String>) {
        let log = Arc::default();
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let is_connected = first(&dial(&log), addresses, 80).await.is_ok();
        let log = log.lock().unwrap().clone();
        (is_connected, log)
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_family_that_is_silent_costs_a_quarter_of_a_second() {
        let (is_connected, log) = tried(&["2001:9::1", "2001:9::2", "9.9.9.9"]).await;
        assert!(is_connected);
        assert_eq!(log, ["0 ms: [2001:9::1]:80", "250 ms: 9.9.9.9:80", "500 ms: [2001:9::2]:80"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_makes_the_next_address_be_tried_at_once() {
        let (is_connected, log) = tried(&["1.1.1.1", "1.1.1.2"]).await;
        assert!(!is_connected);
        assert_eq!(log, ["0 ms: 1.1.1.1:80", "0 ms: 1.1.1.2:80"]);
    }
}
