//! One session: a set of connections to one node, from connecting to closing. Any error on any of them ends the whole
//! session: lapin's own recovery knows connections, not channels (docs/rabbitmq.md#recovery-in-lapin), and half a session
//! is worse than none.

use std::{
    sync::{Arc, atomic::AtomicUsize},
    time::Duration,
};

use bytes::Bytes;
use futures_util::{StreamExt, future::try_join3};
use lapin::Event;
use tokio::{
    sync::{broadcast, mpsc},
    time::timeout,
};
use tokio_util::task::TaskTracker;

use super::{
    connect::{BrokerConnection, Host, connect},
    error::{TopologyError, describe},
    health::SessionHealth,
    liveness::{ConnectionHeartbeat, Liveness},
    notices::NoticeChannel,
    publish::{PublishRequest, SessionPublisher},
    topology::{self, Names, Topology},
};
use crate::{PublishError, notices::NoticeSender};

/// Time in which whoever caused an error of a channel or connection reports it.
const ERROR_KNOWN: Duration = Duration::from_millis(100);
/// Longest time for writing the last acknowledgements.
const FLUSH_TIME: Duration = Duration::from_secs(5);

pub(super) struct SessionSetup {
    /// False for a session that only checks the topology.
    pub(super) declare: bool,
    pub(super) topology: Topology,
    pub(super) names: Names,
    pub(super) heartbeats: broadcast::Sender<ConnectionHeartbeat>,
    pub(super) notices: NoticeSender,
}

/// Three connections to one node. Consuming and publishing have connections of their own, because during an alarm the
/// broker reads nothing, not even acknowledgements, from a connection that publishes
/// (docs/rabbitmq.md#an-alarm-blocks-acknowledgements-too). The third is for the topology, the logs and notices.
pub(super) struct Session {
    pub(super) health: SessionHealth,
    pub(super) publisher: SessionPublisher,
    pub(super) consuming: BrokerConnection,
    /// The tasks that write settlements; closing waits for them.
    pub(super) settlers: TaskTracker,
    pub(super) host: Host,
    publishing: BrokerConnection,
    control: BrokerConnection,
    announced: mpsc::Sender<Bytes>,
    liveness: Liveness,
}

impl Session {
    /// Connects, declares or checks the topology, and tries once whether publishing works.
    pub(super) async fn open(setup: &SessionSetup, host: &Host) -> Result<Arc<Self>, TopologyError> {
        let health = SessionHealth::new();
        let opened = Self::establish(setup, host, health.clone()).await;
        // Also ends the event listeners of a session that did not come about.
        opened.inspect_err(|error| health.fail(error.to_string()))
    }

    async fn establish(setup: &SessionSetup, host: &Host, health: SessionHealth) -> Result<Arc<Self>, TopologyError> {
        let (consuming, publishing, control) =
            try_join3(connect(host, "consuming"), connect(host, "publishing"), connect(host, "control")).await?;
        // The connections are watched once the topology is declared, since a difference need not end the session. Nothing
        // is published before, so the broker cannot block one unseen.
        if setup.declare {
            for size in topology::declare(&control, &setup.topology).await? {
                tracing::warn!(error = %size, "topology.size_differs");
            }
        } else {
            topology::check(&control, &setup.topology).await?;
        }
        let connections = [&consuming, &publishing, &control];
        for (place, connection) in connections.into_iter().enumerate() {
            watch_events(connection, place, health.clone());
        }
        let away = |error: lapin::Error| TopologyError::Away(describe(&error));
        let (names, heartbeats) = (&setup.names, setup.heartbeats.clone());
        let liveness =
            Liveness::open(connections, &names.of("canary"), health.clone(), heartbeats).await.map_err(away)?;
        let (notices, announced) = NoticeChannel::open(&control, &names.of("control")).await.map_err(away)?;
        // This comes before the first probe, because an alarm stops all writing to a connection that has published.
        let publisher = SessionPublisher::open(&publishing, health.clone()).await.map_err(away)?;
        tokio::select! {
            answer = liveness.probe_control() => answer.map_err(TopologyError::Away)?,
            // During an alarm the session is usable; only publishing has to wait.
            _ = async { health.blocks().wait_for(|blocked| blocked.iter().any(Option::is_some)).await.map(drop) } => {}
        }
        let (settlers, host) = (TaskTracker::new(), host.clone());
        tokio::spawn(notices.run(setup.notices.clone(), health.clone()));
        let session = Self { health, publisher, consuming, settlers, host, publishing, control, announced, liveness };
        let session = Arc::new(session);
        session.watch();
        Ok(session)
    }

    fn watch(self: &Arc<Self>) {
        let session = Arc::clone(self);
        tokio::spawn(async move {
            tokio::select! {
                () = session.liveness.watch() => {}
                () = session.publisher.watch() => {}
                _ = session.health.failed() => {}
            }
        });
    }

    pub(super) async fn publish(
        &self,
        request: PublishRequest<'_>,
        max_body: &AtomicUsize,
    ) -> Result<(), PublishError> {
        self.publisher.publish(request, &self.control, max_body).await
    }

    /// Drops the notice if too many wait to be sent.
    pub(super) fn announce(&self, notice: Bytes) {
        let _ = self.announced.try_send(notice);
    }

    /// Waits until all settlements have reached the broker. lapin drops what is not written when a channel goes while
    /// its connection closes (docs/rabbitmq.md#closing-in-lapin), so this waits for the answer to a later request.
    pub(super) async fn flush(&self) {
        self.settlers.close();
        let flushed = async {
            self.settlers.wait().await;
            self.liveness.probe_consuming().await
        };
        let _ = timeout(FLUSH_TIME, flushed).await;
    }

    pub(super) async fn close(&self, reason: &str) {
        self.health.fail(reason);
        tokio::join!(self.consuming.close(), self.publishing.close(), self.control.close());
    }
}

/// Reports lapin's events of a connection. Each connection has one listener, because several would share its events.
fn watch_events(connection: &BrokerConnection, place: usize, health: SessionHealth) {
    let mut events = connection.events();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = health.failed() => return,
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => health.set_blocked(place, Some(reason)),
                Some(Event::ConnectionUnblocked) => health.set_blocked(place, None),
                Some(Event::Error(error)) => {
                    // Whoever asked for it gets the same error, and can say more about it.
                    let _ = timeout(ERROR_KNOWN, health.failed()).await;
                    health.fail(describe(&error));
                }
                Some(_) => {}
                None => return health.fail("the connection ended"),
            }
        }
    });
}
