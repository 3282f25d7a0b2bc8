//! Requests that search for dead letters read the log in turns of some hundred records, so that one with few records of
//! its own is answered soon, whatever others search through.

use std::{sync::Arc, time::Duration};

use broker::{Log, Logs, ReadError, Record};
use futures_util::{
    StreamExt as _,
    future::BoxFuture,
    stream::{self, BoxStream},
};
use tokio::sync::Semaphore;

/// Most requests that search for dead letters at once, for each tenant and for all. Each holds an id and an offset of what
/// it has found, and on RabbitMQ a connection.
pub(crate) const SEARCHES: (usize, usize) = (1, 64);
/// Turns that are taken at once.
pub(crate) const TURNS: usize = 4;
/// Records of a turn.
const RECORDS: usize = 500;
/// Time of a request for what it reads. Clients and proxies often give up after half a minute.
pub(crate) const REQUEST_TIME: Duration = Duration::from_secs(20);

/// Logs whose readers take turns. Each reader waits for its first turn too.
pub(crate) struct LogsInTurns<'a> {
    pub(crate) logs: &'a dyn Logs,
    pub(crate) turns: Arc<Semaphore>,
}

impl Logs for LogsInTurns<'_> {
    fn read(&self, log: Log, offset: u64) -> BoxStream<'static, Result<Record, ReadError>> {
        let (records, turns) = (self.logs.read(log, offset), self.turns.clone());
        stream::unfold((records, None, 0), move |(mut records, mut turn, mut left)| {
            let turns = turns.clone();
            async move {
                if left == 0 {
                    drop(turn.take());
                    // The semaphore is never closed, so acquiring from it cannot fail.
                    turn = turns.acquire_owned().await.ok();
                    left = RECORDS;
                }
                let record = records.next().await?;
                Some((record, (records, turn, left - 1)))
            }
        })
        .boxed()
    }

    fn end(&self, log: Log) -> BoxFuture<'_, Result<u64, ReadError>> {
        self.logs.end(log)
    }
}
