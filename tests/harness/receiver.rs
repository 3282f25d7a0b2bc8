//! The endpoints' side: the receiver of `carteiro listen` and the demo, with a ledger.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use carteiro::receiver::{self, Answer, Received};
use tokio::{net::TcpListener, sync::watch, task::JoinHandle};

use super::{Ledger, Outbox, in_time};

/// A receiver that keeps a ledger. It ends when it is dropped.
pub(crate) struct Receiver {
    base: String,
    ledger: watch::Receiver<Ledger>,
    keeper: JoinHandle<()>,
}

impl Receiver {
    /// Answers as `script` says.
    pub(crate) async fn start(script: impl Fn(&Received) -> Answer + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let mut receiver = receiver::Receiver::start(listener, Arc::new(script)).expect("an address");
        let base = receiver.url("");
        let (writer, ledger) = watch::channel(Ledger::default());
        let keeper = tokio::spawn(async move {
            while let Some(received) = receiver.received.recv().await {
                writer.send_modify(|ledger| ledger.note(received));
            }
        });
        Self { base, ledger, keeper }
    }

    /// Answers 200, at once.
    pub(crate) async fn accepting() -> Self {
        Self::start(|_| Answer::status(200)).await
    }

    /// Answers 200 after a while, which bounds how many can arrive a second: the slots divided by it.
    pub(crate) async fn accepting_after(while_: Duration) -> Self {
        Self::start(move |_| Answer::Status(200, while_)).await
    }

    /// The URL of a path.
    pub(crate) fn url(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Waits for something to be in the ledger.
    pub(crate) async fn until(&self, what: &str, seen: impl FnMut(&Ledger) -> bool) {
        let mut ledger = self.ledger.clone();
        in_time(what, ledger.wait_for(seen)).await.expect("its keeper lives");
    }

    /// Looks something up in the ledger.
    pub(crate) fn look<T>(&self, up: impl FnOnce(&Ledger) -> T) -> T {
        up(&self.ledger.borrow())
    }

    /// What an endpoint has made of the events that were accepted.
    pub(crate) fn tally(&self, path: &str, accepted: &BTreeSet<String>) -> Outbox {
        self.ledger.borrow().tally(path, accepted)
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        self.keeper.abort();
        if std::thread::panicking() {
            eprintln!("\nwhat arrived: {}", self.ledger.borrow().summary());
        }
    }
}
