//! Counts in the files: a count is in the file of its event's first day.

use rusqlite::{Connection, params};

use crate::{
    HistoryError, StatsRequest,
    row::signed,
    stats::{CountRow, HOUR_MS, Stats},
};

/// Adds what a file has: of a tenant, or of all of them; of some endpoints, or of all of them.
pub(super) fn add(
    stats: &mut Stats,
    file: &Connection,
    request: &StatsRequest,
    tenant: Option<i64>,
    endpoints: Option<&[i64]>,
) -> Result<(), HistoryError> {
    let select = "SELECT hour, endpoint, what, count, durations FROM counts
        WHERE hour >= ?1 AND hour <= ?2 AND (?3 IS NULL OR tenant = ?3)";
    let mut select = file.prepare_cached(select)?;
    let last = signed(request.until.saturating_sub(1) / HOUR_MS);
    let mut rows = select.query(params![signed(request.since / HOUR_MS), last, tenant])?;
    while let Some(row) = rows.next()? {
        let number = |column| row.get::<_, i64>(column).map(i64::unsigned_abs);
        let durations: Option<Vec<u8>> = row.get(4)?;
        let what = row.get_ref(2)?.as_str().map_err(rusqlite::Error::from)?;
        let (hour, endpoint, count) = (number(0)?, row.get(1)?, number(3)?);
        let durations = durations.as_deref().unwrap_or_default();
        stats.add(&CountRow { hour, endpoint, what, count, durations }, request, endpoints);
    }
    Ok(())
}
