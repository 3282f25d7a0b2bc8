//! A receiver on loopback that counts deliveries and does little else.

use std::{
    io,
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    time::Duration,
};

use tokio::{
    net::{TcpListener, TcpStream},
    task::JoinSet,
    time::sleep,
};
use tokio_util::task::AbortOnDropHandle;

use super::{connection::Connection, deliveries::Deliveries};

const ACCEPTED: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
const UNAVAILABLE: &[u8] = b"HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n";

/// A running receiver. Its drop ends it.
pub(super) struct Receiver {
    pub(super) address: SocketAddr,
    is_away: Arc<AtomicBool>,
    _task: AbortOnDropHandle<()>,
}

impl Receiver {
    /// Starts a receiver that notes each request in `deliveries`, and answers 200 after `answer_time`.
    pub(super) async fn start(deliveries: Arc<Deliveries>, answer_time: Duration) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let (address, is_away) = (listener.local_addr()?, Arc::new(AtomicBool::new(false)));
        let away = is_away.clone();
        let task = tokio::spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                tokio::select! {
                    accepted = listener.accept() => {
                        let Ok((stream, _)) = accepted else { continue };
                        connections.spawn(answer(stream, deliveries.clone(), answer_time, away.clone()));
                    }
                    Some(_) = connections.join_next() => {}
                }
            }
        });
        Ok(Self { address, is_away, _task: AbortOnDropHandle::new(task) })
    }

    /// Answers 503 from now on, and notes nothing, or answers 200 again.
    pub(super) fn set_away(&self, is_away: bool) {
        self.is_away.store(is_away, Relaxed);
    }
}

/// Answers the requests of one connection until it ends.
async fn answer(
    stream: TcpStream,
    deliveries: Arc<Deliveries>,
    answer_time: Duration,
    is_away: Arc<AtomicBool>,
) -> io::Result<()> {
    let mut connection = Connection::new(stream)?;
    while let Some(request) = connection.read().await? {
        if is_away.load(Relaxed) {
            connection.write(UNAVAILABLE).await?;
            continue;
        }
        deliveries.arrived(request.header("webhook-id").unwrap_or_default(), request.target());
        if !answer_time.is_zero() {
            sleep(answer_time).await;
        }
        connection.write(ACCEPTED).await?;
    }
    Ok(())
}
