//! One set of connections to one node, from connecting to closing. Any error on any of them ends all: lapin's own
//! recovery knows connections, not channels, and half a session is worse than none.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use futures_util::{StreamExt, future::try_join3};
use lapin::{Connection, ConnectionProperties, Event};
use tokio::{sync::mpsc, time::timeout};
use tokio_util::task::TaskTracker;

use super::{
    address::{Host, shown},
    core::Core,
    declare,
    error::{TopologyError, describe},
    health::Health,
    herald::Herald,
    liveness::Liveness,
    publish::Publisher,
};

/// To connect, from the first packet to the last handshake.
const CONNECT: Duration = Duration::from_secs(10);
/// To close one connection in order; a hanging broker must not hold up the next session.
const CLOSE: Duration = Duration::from_secs(2);
/// To write the last acknowledgements.
const FLUSH: Duration = Duration::from_secs(5);

/// Connections of their own for consuming and publishing, since the broker reads nothing, not even acknowledgements,
/// from one that publishes during an alarm (V12). The third is for the topology, the logs and notices.
pub(super) struct Session {
    pub(super) health: Health,
    pub(super) publisher: Publisher,
    pub(super) consuming: Connection,
    /// Writes acknowledgements; waited for before closing.
    pub(super) ackers: TaskTracker,
    /// Where it leads.
    pub(super) host: Host,
    publishing: Connection,
    control: Connection,
    notices: mpsc::Sender<Bytes>,
    /// Kept to the end: a channel that is dropped while its connection closes makes lapin drop what is not written yet,
    /// acknowledgements too.
    liveness: Liveness,
}

impl Session {
    /// Connects, sees to the topology, and looks once whether publishing works.
    pub(super) async fn open(core: &Core, host: &Host) -> Result<Arc<Self>, TopologyError> {
        let health = Health::new();
        let opened = Self::establish(core, host, health.clone()).await;
        // Also ends the listeners of a session that never came about.
        opened.inspect_err(|error| health.fail(error.to_string()))
    }

    async fn establish(core: &Core, host: &Host, health: Health) -> Result<Arc<Self>, TopologyError> {
        let [consuming, publishing, control] = connections(host).await?;
        for (place, connection) in [&consuming, &publishing, &control].into_iter().enumerate() {
            listen(connection, place, health.clone());
        }
        if core.config.declare {
            declare::declare(&control, &core.topology).await?;
        } else {
            declare::check(&control, &core.topology).await?;
        }
        let away = |error: lapin::Error| TopologyError::Away(describe(&error));
        let (all, name) = ([&consuming, &publishing, &control], core.names.of("canary"));
        let liveness = Liveness::open(all, &name, health.clone(), core.beats.clone()).await.map_err(away)?;
        let (herald, notices) = Herald::open(&control, &core.names.of("control")).await.map_err(away)?;
        // Before the first beat: during an alarm nothing more is written to a connection that has published.
        let publisher = Publisher::open(&publishing, &control, health.clone()).await.map_err(away)?;
        tokio::select! {
            beat = liveness.first() => beat.map_err(TopologyError::Away)?,
            // An alarm: the session stands, only publishing has to wait.
            _ = async { health.blocks().wait_for(|blocked| blocked.iter().any(Option::is_some)).await.map(drop) } => {}
        }
        let ackers = TaskTracker::new();
        tokio::spawn(herald.run(core.board.clone(), health.clone()));
        let host = host.clone();
        let session = Self { health, publisher, consuming, ackers, host, publishing, control, notices, liveness };
        let session = Arc::new(session);
        session.watch();
        Ok(session)
    }

    /// Looks after liveness until the session is over.
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

    /// Says something to every process, unless too much waits to be said already.
    pub(super) fn announce(&self, notice: Bytes) {
        let _ = self.notices.try_send(notice);
    }

    /// Waits until what was settled is written.
    pub(super) async fn flush(&self) {
        self.ackers.close();
        let _ = timeout(FLUSH, self.ackers.wait()).await;
    }

    /// Ends it for everybody and closes the connections.
    pub(super) async fn close(&self, reason: &str) {
        self.health.fail(reason);
        let close = |connection| async move { timeout(CLOSE, Connection::close(connection, 200, "OK".into())).await };
        let _ = tokio::join!(close(&self.consuming), close(&self.publishing), close(&self.control));
    }
}

/// One connection. The error names the host, never the user.
pub(super) async fn connect(host: &Host, name: &str) -> Result<Connection, TopologyError> {
    let properties = ConnectionProperties::default().with_connection_name(format!("carteiro {name}").into());
    match timeout(CONNECT, host.connect(properties)).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(TopologyError::Away(format!("{}: {}", shown(host), describe(&error)))),
        Err(_) => Err(TopologyError::Away(format!("{}: no answer within {CONNECT:?}", shown(host)))),
    }
}

async fn connections(host: &Host) -> Result<[Connection; 3], TopologyError> {
    let (consuming, publishing, control) =
        try_join3(connect(host, "consuming"), connect(host, "publishing"), connect(host, "control")).await?;
    Ok([consuming, publishing, control])
}

/// Passes on what lapin says about a connection. There must be one listener each: several would share the events.
fn listen(connection: &Connection, place: usize, health: Health) {
    let mut events = connection.events_listener();
    tokio::spawn(async move {
        loop {
            let event = tokio::select! {
                event = events.next() => event,
                _ = health.failed() => return,
            };
            match event {
                Some(Event::ConnectionBlocked(reason)) => health.set_blocked(place, Some(reason)),
                Some(Event::ConnectionUnblocked) => health.set_blocked(place, None),
                Some(Event::Error(error)) => health.fail(describe(&error)),
                Some(_) => {}
                None => return health.fail("the connection ended"),
            }
        }
    });
}
