//! A line that falls silent for one connection alone: nothing comes and nothing goes, without any error.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use broker::{
    Broker, ConnectionState, ConsumerStatus, Handler, Incoming, Lane, Queue, Settlement, Target, rabbitmq::RabbitMq,
    run_handler,
};
use futures_util::future::join_all;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::watch,
    time::{Instant, timeout},
};
use tokio_util::sync::CancellationToken;

use crate::fixture::{TIMEOUT, connect, message, next, unique};

/// The connections through the proxy: the name of each, and the switch that silences it.
type NamedConnections = Arc<Mutex<Vec<(String, watch::Sender<bool>)>>>;

/// A proxy to the shared node.
struct SilencingProxy {
    url: String,
    known: NamedConnections,
}

impl SilencingProxy {
    async fn start() -> Self {
        let url = tokio::task::spawn_blocking(crate::node::shared).await.expect("a node");
        let (user, place) = url.split_once('@').expect("a user");
        let (node, vhost) = place.split_once('/').expect("a vhost");
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let own = listener.local_addr().expect("an address");
        let (node, known) = (node.to_owned(), NamedConnections::default());
        tokio::spawn({
            let known = known.clone();
            async move {
                while let Ok((client, _)) = listener.accept().await {
                    let server = TcpStream::connect(&node).await.expect("the node listens");
                    tokio::spawn(carry(client, server, known.clone()));
                }
            }
        });
        Self { url: format!("{user}@{own}/{vhost}"), known }
    }

    /// Silences the present connections of this name. Later ones are not silent.
    fn silence(&self, name: &str) {
        let known = self.known.lock().expect("no panic");
        let mut found = known.iter().filter(|(known, _)| known == name).peekable();
        assert!(found.peek().is_some(), "nobody is called {name}");
        found.for_each(|(_, silent)| _ = silent.send_replace(true));
    }
}

/// Carries bytes both ways. The client sends its connection's name among the first bytes.
async fn carry(client: TcpStream, server: TcpStream, known: NamedConnections) {
    let (silent, is_silent) = watch::channel(false);
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let back = {
        let is_silent = is_silent.clone();
        async move {
            let mut bytes = vec![0; 16 * 1024];
            while let Ok(read @ 1..) = from_server.read(&mut bytes).await {
                wait_if_silent(&is_silent).await;
                if to_client.write_all(&bytes[..read]).await.is_err() {
                    break;
                }
            }
        }
    };
    let there = async move {
        let (mut bytes, mut said, mut silent) = (vec![0; 16 * 1024], Vec::new(), Some(silent));
        while let Ok(read @ 1..) = from_client.read(&mut bytes).await {
            if silent.is_some() {
                said.extend_from_slice(&bytes[..read]);
                let name = ["consuming", "publishing", "control"].into_iter().find(|name| has(&said, name));
                if let Some((name, silent)) = name.and_then(|name| Some((name, silent.take()?))) {
                    known.lock().expect("no panic").push((name.to_owned(), silent));
                }
            }
            wait_if_silent(&is_silent).await;
            if to_server.write_all(&bytes[..read]).await.is_err() {
                break;
            }
        }
    };
    tokio::join!(back, there);
}

/// Returns at once, or never when the connection is silent: its socket stays open.
async fn wait_if_silent(is_silent: &watch::Receiver<bool>) {
    if *is_silent.borrow() {
        std::future::pending::<()>().await;
    }
}

fn has(said: &[u8], name: &str) -> bool {
    let name = format!("carteiro {name}");
    said.windows(name.len()).any(|window| window == name.as_bytes())
}

async fn until(broker: &RabbitMq, what: impl FnMut(&ConnectionState) -> bool) -> ConnectionState {
    timeout(TIMEOUT, broker.connection_state().wait_for(what)).await.expect("in time").expect("a state").clone()
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_connection_falls_silent_the_session_ends_and_the_next_one_works() {
    join_all(["consuming", "publishing", "control"].map(falls_silent)).await;
}

async fn falls_silent(name: &str) {
    let proxy = SilencingProxy::start().await;
    let config = unique(&proxy.url);
    let broker = connect(&config);
    let mut heartbeats = broker.heartbeats();
    timeout(TIMEOUT, broker.first_session()).await.expect("in time").expect("connects");
    until(&broker, |state| *state == ConnectionState::Ready).await;
    let heartbeat = async {
        loop {
            let heartbeat = heartbeats.recv().await.expect("the broker is open");
            if heartbeat.connection == name {
                return heartbeat;
            }
        }
    };
    let heartbeat = timeout(TIMEOUT, heartbeat).await.expect("in time");
    assert!(heartbeat.took < Duration::from_secs(15), "{heartbeat:?}");

    proxy.silence(name);
    let since = Instant::now();
    let ConnectionState::Away(why) = until(&broker, |state| matches!(state, ConnectionState::Away(_))).await else {
        unreachable!()
    };
    assert!(why.starts_with(&format!("{name} connection: ")), "{why}");
    // AMQP's own heartbeats would take forty seconds.
    assert!(since.elapsed() < Duration::from_secs(35), "{:?}", since.elapsed());

    until(&broker, |state| *state == ConnectionState::Ready).await;
    let mut consumer = broker.consume(Queue::Lane(Lane::Fast), 1.into());
    broker.publish(&Target::Lane(Lane::Fast, None), &message("after")).await.expect("confirmed");
    let after = next(&mut consumer).await;
    assert_eq!(after.message.id, "after");
    after.settle(Settlement::Done);
    broker.close().await;
    broker::rabbitmq::remove(&config).await.expect("removed");
}

/// A handler that does nothing.
struct IdleHandler;

impl Handler for IdleHandler {
    async fn handle(&self, _: &Incoming) -> Settlement {
        Settlement::Done
    }

    async fn panicked(&self, _: &Incoming) -> Settlement {
        Settlement::Done
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_role_is_not_ready_while_its_consumer_is_not_granted_and_is_once_it_is() {
    let proxy = SilencingProxy::start().await;
    let config = unique(&proxy.url);
    let broker = connect(&config);
    timeout(TIMEOUT, broker.first_session()).await.expect("in time").expect("connects");
    until(&broker, |state| *state == ConnectionState::Ready).await;
    proxy.silence("consuming");
    let _running = CancellationToken::new();
    let stop = _running.clone();
    let status = ConsumerStatus::new(broker.connection_state(), Instant::now());
    assert_eq!(status.ready(), Ok(()), "it has not subscribed yet");
    let consumer = broker.consume(Queue::Lane(Lane::Fast), 1_000.into());
    tokio::spawn(run_handler(Queue::Lane(Lane::Fast), consumer, Arc::new(IdleHandler), stop, status.clone()));
    let why = eventually(|| status.ready().err()).await;
    assert_eq!(why, "the broker has not granted its consumer yet");
    until(&broker, |state| matches!(state, ConnectionState::Away(_))).await;
    until(&broker, |state| *state == ConnectionState::Ready).await;
    eventually(|| status.ready().ok()).await;
    assert_eq!(status.alive(Instant::now()), Ok(()));
    broker.close().await;
    broker::rabbitmq::remove(&config).await.expect("removed");
}

/// Waits until something is there.
async fn eventually<T>(look: impl Fn() -> Option<T>) -> T {
    let found = async {
        loop {
            if let Some(found) = look() {
                return found;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(TIMEOUT, found).await.expect("in time")
}
