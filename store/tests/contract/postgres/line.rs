//! A TCP proxy to the database whose connections can be cut, restored, or made silent.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// It carries.
    Whole,
    /// It is closed, and every new one is closed at once.
    Cut,
    /// It stays open and carries nothing.
    Mute,
}

/// A listener that hands everything on to the database.
pub(super) struct Line {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    /// Its drop ends the line.
    _tasks: JoinSet<()>,
}

impl Line {
    /// To the database of this URL.
    pub(super) async fn to(url: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let target = host(url).to_owned();
        let state = Arc::new(watch::Sender::new(State::Whole));
        let (mut tasks, states) = (JoinSet::new(), state.clone());
        tasks.spawn(async move {
            let mut lines = JoinSet::new();
            while let Ok((near, _)) = listener.accept().await {
                lines.spawn(carry(near, target.clone(), states.subscribe()));
            }
        });
        Self { address, state, _tasks: tasks }
    }

    /// The same database, by this line.
    pub(super) fn through(&self, url: &str) -> String {
        url.replace(host(url), &self.address.to_string())
    }

    /// From now on it is so.
    pub(super) fn set(&self, state: State) {
        self.state.send_replace(state);
    }
}

fn host(url: &str) -> &str {
    let (_, rest) = url.split_once('@').expect("a user");
    rest.split('/').next().expect("a host")
}

async fn carry(near: TcpStream, target: String, mut state: watch::Receiver<State>) {
    if *state.borrow() == State::Cut {
        return;
    }
    let far = TcpStream::connect(target).await.expect("the database listens");
    let ((from_near, to_near), (from_far, to_far)) = (near.into_split(), far.into_split());
    let mut cut = state.clone();
    tokio::select! {
        () = pump(from_near, to_far, state.clone()) => {}
        () = pump(from_far, to_near, state.clone()) => {}
        _ = cut.wait_for(|state| *state == State::Cut) => {}
    }
    // A silent connection is not closed when one end gives up: the other end learns nothing.
    let _ = state.wait_for(|state| *state != State::Mute).await;
}

async fn pump(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, mut state: watch::Receiver<State>) {
    let mut buffer = [0; 8192];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        if state.wait_for(|state| *state != State::Mute).await.is_err()
            || to.write_all(&buffer[..length]).await.is_err()
        {
            return;
        }
    }
}
