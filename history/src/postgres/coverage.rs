//! Until when records are complete, and where they are not.

use service::postgres::{DatabaseError, PostgresSession, QUICK};
use tokio_postgres::types::Type;

use super::rows::unsigned;
use crate::{Coverage, Gap, GapCause, HistoryError, row::signed};

/// Notes until when a process has handed over its records, or that it has ended.
pub(super) async fn note(
    session: &PostgresSession,
    process: &str,
    covers_until: u64,
    ends: bool,
) -> Result<(), DatabaseError> {
    if ends {
        let sql = "DELETE FROM processes WHERE id = $1";
        session.execute(QUICK, sql, &[(&process, Type::TEXT)]).await?;
    } else if !process.is_empty() {
        let sql = "INSERT INTO processes (id, covers_until) VALUES ($1, $2) ON CONFLICT (id) DO UPDATE
            SET covers_until = greatest(processes.covers_until, excluded.covers_until)";
        let given = &[(&process as _, Type::TEXT), (&signed(covers_until) as _, Type::INT8)];
        session.execute(QUICK, sql, given).await?;
    }
    Ok(())
}

pub(super) async fn insert(session: &PostgresSession, gap: &Gap) -> Result<(), HistoryError> {
    let Gap { from, until, dropped, cause } = gap;
    let sql = "INSERT INTO gaps (began, ended, cause, dropped) VALUES ($1, $2, $3, $4) ON CONFLICT DO NOTHING";
    let given = &[
        (&signed(*from) as _, Type::INT8),
        (&signed(*until) as _, Type::INT8),
        (&cause.as_str() as _, Type::TEXT),
        (&signed(*dropped) as _, Type::INT8),
    ];
    session.execute(QUICK, sql, given).await?;
    Ok(())
}

pub(super) async fn read(session: &PostgresSession, since: u64, until: u64) -> Result<Coverage, HistoryError> {
    let sql = "SELECT began, ended, dropped, cause FROM gaps WHERE began <= $2 AND ended >= $1 ORDER BY began";
    let given = &[(&signed(since) as _, Type::INT8), (&signed(until) as _, Type::INT8)];
    let gaps = session.query(QUICK, sql, given).await?.into_iter().map(|row| {
        let cause = GapCause::ALL.into_iter().find(|known| known.as_str() == row.get::<_, &str>(3));
        Gap {
            from: unsigned(row.get(0)),
            until: unsigned(row.get(1)),
            dropped: unsigned(row.get(2)),
            cause: cause.unwrap_or(GapCause::Unreadable),
        }
    });
    let gaps = gaps.collect();
    let rows = session.query(QUICK, "SELECT min(covers_until) FROM processes", &[]).await?;
    let covered_until = rows.first().and_then(|row| row.get::<_, Option<i64>>(0)).map(unsigned);
    Ok(Coverage { gaps, covered_until })
}

/// Turns silent processes into gaps, in one statement. Returns how many there were.
pub(super) async fn close_silent(
    session: &PostgresSession,
    silent_since: u64,
    lost_ms: u64,
    living: &str,
) -> Result<u64, HistoryError> {
    let sql = "WITH silent AS (
            DELETE FROM processes WHERE covers_until < $1 AND id <> $2 RETURNING covers_until
        ), noted AS (
            INSERT INTO gaps (began, ended, cause, dropped)
            SELECT DISTINCT covers_until, least(covers_until, 9223372036854775807 - $3) + $3, $4, 0 FROM silent
            ON CONFLICT DO NOTHING
        )
        SELECT count(*) FROM silent";
    let given = &[
        (&signed(silent_since) as _, Type::INT8),
        (&living as _, Type::TEXT),
        (&signed(lost_ms) as _, Type::INT8),
        (&GapCause::UncleanEnd.as_str() as _, Type::TEXT),
    ];
    let rows = session.query(QUICK, sql, given).await?;
    Ok(rows.first().map_or(0, |row| unsigned(row.get(0))))
}

/// Forgets gaps that ended before a time.
pub(super) async fn forget(session: &PostgresSession, before: u64) -> Result<(), DatabaseError> {
    session.execute(QUICK, "DELETE FROM gaps WHERE ended < $1", &[(&signed(before), Type::INT8)]).await.map(drop)
}
