//! A full disk. A limit within SQLite stands for it, since only that fills no real disk.

use std::{path::Path, sync::Arc, time::Duration};

use schemas::Message;

use super::{Sqlite, open};
use crate::{Broker, ConnectionState, PublishError, Queue, Settlement, Target};

/// A broker whose file cannot grow beyond a few hundred messages.
fn limited(path: &Path) -> Sqlite {
    let opened = open::open(path).expect("it opens");
    opened.connection.query_row("PRAGMA max_page_count = 64", [], |_| Ok(())).expect("a limit");
    Sqlite::start(path, opened, Arc::new(|| 1_790_000_000_000)).expect("it starts")
}

#[tokio::test]
async fn a_full_disk_refuses_publishes_loses_nothing_and_takes_them_again_once_there_is_room() {
    let folder = tempfile::tempdir().expect("a folder");
    let broker = limited(&folder.path().join("broker.db"));
    let to = Target::Ingest { key: "acme.7.12.ticket.created".into() };
    let event = |id: u32| Message { id: id.to_string(), body: vec![b' '; 1500].into(), ..Message::default() };
    let mut confirmed = 0;
    let refused = loop {
        match broker.publish(&to, &event(confirmed)).await {
            Ok(()) => confirmed += 1,
            Err(refused) => break refused,
        }
    };
    assert_eq!(refused, PublishError::Nacked);
    assert!(confirmed > 100, "{confirmed} went in");
    assert!(
        matches!(&*broker.connection_state().borrow(), ConnectionState::Blocked(reason) if reason.contains("full"))
    );

    let mut consumer = broker.consume(Queue::Ingest, 10);
    for id in 0..confirmed {
        let incoming =
            tokio::time::timeout(Duration::from_secs(60), consumer.next()).await.expect("it still hands out");
        let incoming = incoming.expect("it is open");
        assert_eq!((incoming.message.id.clone(), incoming.count), (id.to_string(), 0));
        incoming.settle(Settlement::Done);
    }
    let mut connection = broker.connection_state();
    connection.wait_for(|state| *state == ConnectionState::Ready).await.expect("it is open");
    assert_eq!(broker.publish(&to, &event(confirmed)).await, Ok(()));
}
