//! From addresses to a socket.

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

/// A connection of bytes.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}
impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}
/// One that is open.
pub(crate) type Socket = Box<dyn Stream>;
/// Opens one to an address.
pub(crate) type Dial = Arc<dyn Fn(SocketAddr) -> BoxFuture<'static, io::Result<Socket>> + Send + Sync>;

/// How long an address is tried alone before the next one is tried, too (RFC 8305, §8: 250 ms).
const STAGGER: Duration = Duration::from_millis(250);

/// Over TCP.
pub(crate) fn tcp() -> Dial {
    Arc::new(|address| {
        async move {
            let stream = TcpStream::connect(address).await?;
            stream.set_nodelay(true)?;
            Ok(Box::new(stream) as Socket)
        }
        .boxed()
    })
}

/// The first connection that stands to any of these addresses, and to no other. The families take turns, so that a broken
/// one costs a moment only.
pub(super) async fn first(dial: &Dial, addresses: Vec<IpAddr>, port: u16) -> io::Result<Socket> {
    let mut left = in_turns(addresses);
    let mut trying = FuturesUnordered::new();
    let mut failed = io::Error::from(io::ErrorKind::AddrNotAvailable);
    loop {
        if let Some(address) = left.pop_front() {
            trying.push(dial(SocketAddr::new(address, port)));
        }
        let next = tokio::time::sleep(STAGGER);
        tokio::select! {
            tried = trying.next() => match tried {
                Some(Ok(socket)) => return Ok(socket),
                Some(Err(error)) => failed = error,
                None => return Err(failed),
            },
            () = next, if !left.is_empty() => {}
        }
    }
}

fn in_turns(addresses: Vec<IpAddr>) -> VecDeque<IpAddr> {
    let first_is_v6 = addresses.first().is_some_and(IpAddr::is_ipv6);
    let (ours, others): (VecDeque<_>, VecDeque<_>) =
        addresses.into_iter().partition(|address| address.is_ipv6() == first_is_v6);
    let (mut ours, mut others) = (ours.into_iter(), others.into_iter());
    let mut turns = VecDeque::new();
    loop {
        let before = turns.len();
        turns.extend(ours.next());
        turns.extend(others.next());
        if turns.len() == before {
            return turns;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    /// Dials that note when each address was tried; what begins with 9 answers after a second, 2001:9:: never.
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

    async fn tried(addresses: &[&str]) -> (bool, Vec<String>) {
        let log = Arc::default();
        let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
        let stands = first(&dial(&log), addresses, 80).await.is_ok();
        let log = log.lock().unwrap().clone();
        (stands, log)
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_family_costs_a_quarter_of_a_second() {
        let (stands, log) = tried(&["2001:9::1", "2001:9::2", "9.9.9.9"]).await;
        assert!(stands);
        assert_eq!(log, ["0 ms: [2001:9::1]:80", "250 ms: 9.9.9.9:80", "500 ms: [2001:9::2]:80"]);
    }

    #[tokio::test(start_paused = true)]
    async fn after_a_refusal_the_next_is_tried_at_once_and_the_last_refusal_is_told() {
        let (stands, log) = tried(&["1.1.1.1", "1.1.1.2"]).await;
        assert!(!stands);
        assert_eq!(log, ["0 ms: 1.1.1.1:80", "0 ms: 1.1.1.2:80"]);
    }
}
