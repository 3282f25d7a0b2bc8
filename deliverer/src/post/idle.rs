//! Bounds the number of idle connections to all hosts together. Beyond it, the one that was used least recently is closed.
//!
//! hyper keeps a [`ConnectionUse`] with each connection. It clones it for a request before it hands the request over, and
//! for the response; so a connection with one use is idle, over HTTP/2 too. A connection is closed only while it is idle,
//! and sends nothing from then on: a request that still gets it was not sent, and may be sent again.

use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering::SeqCst},
    },
    task::{Context, Waker},
    time::Duration,
};

use futures_util::task::AtomicWaker;
use schemas::time::millis;
use tokio::time::Instant;

use super::details::Connecting;

/// Time for which a new connection that waits for its first request is not closed.
const FIRST_USE: Duration = Duration::from_secs(3);

pub(super) struct IdleConnections {
    most: usize,
    began: Instant,
    uses: AtomicU64,
    by_last_use: Mutex<BTreeMap<LastUse, Arc<PooledConnection>>>,
}

/// Milliseconds from the begin of the table to the end of a use, and the number of that use.
type LastUse = (u64, u64);

/// The state of a connection, which its socket, the pool and its requests share.
pub(super) struct PooledConnection {
    table: Arc<IdleConnections>,
    connected_at: Instant,
    connecting: Connecting,
    /// True once a request over it was answered.
    has_answered: AtomicBool,
    uses: AtomicUsize,
    /// Its last use, by which the table has it. Changed under the table's lock.
    last_use_ms: AtomicU64,
    last_use_number: AtomicU64,
    /// True once it was closed as one too many.
    is_surplus: AtomicBool,
    /// True once its socket is gone.
    has_ended: AtomicBool,
    reader: AtomicWaker,
}

impl IdleConnections {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most, began: Instant::now(), uses: AtomicU64::new(0), by_last_use: Mutex::default() })
    }

    /// The state of a new connection, which is idle until it has a request.
    pub(super) fn connected(self: &Arc<Self>, connecting: Connecting) -> Arc<PooledConnection> {
        let connection = Arc::new(PooledConnection {
            table: self.clone(),
            connected_at: Instant::now(),
            connecting,
            has_answered: AtomicBool::new(false),
            uses: AtomicUsize::new(0),
            last_use_ms: AtomicU64::new(0),
            last_use_number: AtomicU64::new(0),
            is_surplus: AtomicBool::new(false),
            has_ended: AtomicBool::new(false),
            reader: AtomicWaker::new(),
        });
        self.update(&connection, FIRST_USE);
        connection
    }

    /// Notes whether a connection is idle now. A connection that is not closed for the time of `grace` counts as used at
    /// its end.
    fn update(&self, connection: &Arc<PooledConnection>, grace: Duration) {
        let mut idle = self.by_last_use.lock().unwrap_or_else(PoisonError::into_inner);
        idle.remove(&connection.last_use());
        if !connection.is_idle() {
            return;
        }
        let now = Instant::now().saturating_duration_since(self.began);
        connection.last_use_ms.store(millis(now + grace), SeqCst);
        connection.last_use_number.store(self.uses.fetch_add(1, SeqCst) + 1, SeqCst);
        idle.insert(connection.last_use(), connection.clone());
        let surplus = self.close_surplus(&mut idle, millis(now));
        drop(idle);
        surplus.into_iter().for_each(Waker::wake);
    }

    /// Closes the connections beyond the limit. Returns the wakers of their tasks.
    fn close_surplus(&self, idle: &mut BTreeMap<LastUse, Arc<PooledConnection>>, now_ms: u64) -> Vec<Waker> {
        let mut wakers = Vec::new();
        while idle.len() > self.most
            && let Some(least_recent) = idle.first_entry()
            && least_recent.key().0 <= now_ms
        {
            let connection = least_recent.remove();
            // A request that takes it right now waits for the lock to say so.
            if connection.is_idle() {
                connection.is_surplus.store(true, SeqCst);
                wakers.extend(connection.reader.take());
            }
        }
        wakers
    }
}

impl PooledConnection {
    fn is_idle(&self) -> bool {
        // The first use is the pool's.
        self.uses.load(SeqCst) <= 1 && !self.is_surplus() && !self.has_ended.load(SeqCst)
    }

    fn last_use(&self) -> LastUse {
        (self.last_use_ms.load(SeqCst), self.last_use_number.load(SeqCst))
    }

    /// True once the connection was closed as one too many: it sends nothing any more.
    pub(super) fn is_surplus(&self) -> bool {
        self.is_surplus.load(SeqCst)
    }

    /// Like [`is_surplus`](Self::is_surplus), and wakes the reader when that changes.
    pub(super) fn poll_surplus(&self, cx: &Context<'_>) -> bool {
        self.reader.register(cx.waker());
        self.is_surplus()
    }

    /// Notes that the socket is gone.
    pub(super) fn end(self: &Arc<Self>) {
        self.has_ended.store(true, SeqCst);
        self.table.update(self, Duration::ZERO);
    }
}

/// One use of a connection, which ends with its drop.
pub(super) struct ConnectionUse(Arc<PooledConnection>);

impl ConnectionUse {
    pub(super) fn of(connection: &Arc<PooledConnection>) -> Self {
        // The second use is the first request.
        if connection.uses.fetch_add(1, SeqCst) == 1 {
            connection.table.update(connection, Duration::ZERO);
        }
        Self(connection.clone())
    }

    pub(super) fn connected_at(&self) -> Instant {
        self.0.connected_at
    }

    pub(super) fn connecting(&self) -> Connecting {
        self.0.connecting
    }

    /// True for the first answer over the connection, and then no more.
    pub(super) fn is_first_answer(&self) -> bool {
        !self.0.has_answered.swap(true, SeqCst)
    }

    pub(super) fn is_surplus(&self) -> bool {
        self.0.is_surplus()
    }
}

impl Clone for ConnectionUse {
    fn clone(&self) -> Self {
        Self::of(&self.0)
    }
}

impl Drop for ConnectionUse {
    fn drop(&mut self) {
        if self.0.uses.fetch_sub(1, SeqCst) == 2 {
            self.0.table.update(&self.0, Duration::ZERO);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A connection of a pool.
    fn pooled(table: &Arc<IdleConnections>) -> (Arc<PooledConnection>, ConnectionUse) {
        let connection = table.connected(Connecting::in_memory());
        let pooled = ConnectionUse::of(&connection);
        (connection, pooled)
    }

    /// Lets so much time pass that no connection is new any more.
    async fn pass() {
        tokio::time::advance(FIRST_USE).await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_with_a_request_is_never_closed_and_one_without_is_in_the_order_of_use() {
        let table = IdleConnections::new(2);
        let mut connections = Vec::new();
        for _ in 0..2 {
            connections.push(pooled(&table));
            pass().await;
        }
        let closed = |connections: &[(Arc<PooledConnection>, _)]| {
            connections.iter().map(|(connection, _)| connection.is_surplus()).collect::<Vec<_>>()
        };
        let (request, response) = (connections[0].1.clone(), connections[0].1.clone());
        for _ in 0..2 {
            connections.push(pooled(&table));
        }
        assert_eq!(closed(&connections), [false, true, false, false], "the only idle one that is not new");
        drop(request);
        pass().await;
        connections.push(pooled(&table));
        assert_eq!(closed(&connections), [false, true, true, false, false], "one more is idle");
        drop(response);
        assert_eq!(closed(&connections), [false, true, true, true, false]);
    }

    #[tokio::test(start_paused = true)]
    async fn new_connections_beyond_the_limit_are_closed_only_when_they_stay_unused() {
        let table = IdleConnections::new(1);
        let connections: Vec<_> = (0..5).map(|_| pooled(&table)).collect();
        let open = || connections.iter().filter(|(connection, _)| !connection.is_surplus()).count();
        assert_eq!(open(), 5);
        pass().await;
        let last = pooled(&table);
        assert_eq!((open(), last.0.is_surplus()), (0, false));
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_has_ended_takes_no_place() {
        let table = IdleConnections::new(1);
        let (first, pooled_first) = pooled(&table);
        let request = pooled_first.clone();
        first.end();
        drop(request);
        drop(pooled_first);
        assert!(table.by_last_use.lock().unwrap().is_empty());
    }
}
