//! Until when records are complete, and where they are not.

use rusqlite::{Connection, TransactionBehavior::Immediate, params};

use super::writer::Writer;
use crate::{Coverage, Gap, GapCause, HistoryError, row::signed};

pub(super) fn insert(meta: &Connection, gap: &Gap) -> Result<(), HistoryError> {
    let insert = "INSERT OR IGNORE INTO gaps (began, ended, cause, dropped) VALUES (?1, ?2, ?3, ?4)";
    let Gap { from, until, dropped, cause } = gap;
    meta.prepare_cached(insert)?.execute(params![signed(*from), signed(*until), cause.as_str(), signed(*dropped)])?;
    Ok(())
}

pub(super) fn read(meta: &Connection, since: u64, until: u64) -> Result<Coverage, HistoryError> {
    let select = "SELECT began, ended, dropped, cause FROM gaps WHERE began <= ?2 AND ended >= ?1 ORDER BY began";
    let mut select = meta.prepare_cached(select)?;
    let gaps = select.query_map(params![signed(since), signed(until)], |row| {
        let time = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let cause = row.get_ref(3)?.as_str()?.to_owned();
        Ok((time(0)?, time(1)?, time(2)?, cause))
    })?;
    let mut coverage = Coverage::default();
    for gap in gaps {
        let (from, until, dropped, cause) = gap?;
        let cause = GapCause::ALL.into_iter().find(|known| known.as_str() == cause);
        coverage.gaps.push(Gap { from, until, dropped, cause: cause.unwrap_or(GapCause::Unreadable) });
    }
    let covered = meta.query_row("SELECT min(covers_until) FROM processes", [], |row| row.get::<_, Option<i64>>(0))?;
    coverage.covered_until = covered.map(i64::unsigned_abs);
    Ok(coverage)
}

impl Writer {
    pub(super) fn close_silent(&mut self, silent_since: u64, lost_ms: u64, living: &str) -> Result<u64, HistoryError> {
        let transaction = self.meta.transaction_with_behavior(Immediate)?;
        let silent: Vec<(String, u64)> = {
            let select = "SELECT id, covers_until FROM processes WHERE covers_until < ?1 AND id <> ?2";
            let mut select = transaction.prepare_cached(select)?;
            let rows = select.query_map(params![signed(silent_since), living], |row| {
                Ok((row.get(0)?, row.get::<_, i64>(1)?.unsigned_abs()))
            })?;
            rows.collect::<rusqlite::Result<_>>()?
        };
        for (id, from) in &silent {
            let until = from.saturating_add(lost_ms);
            insert(&transaction, &Gap { from: *from, until, dropped: 0, cause: GapCause::UncleanEnd })?;
            transaction.execute("DELETE FROM processes WHERE id = ?1", [id])?;
        }
        transaction.commit()?;
        Ok(silent.len() as u64)
    }
}
