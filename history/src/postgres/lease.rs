//! The right to write what the stream has. Its times are the database's, so that the clocks of processes do not matter.

use std::time::Duration;

use service::postgres::{Parameters, PostgresSession, QUICK};
use tokio_postgres::types::Type;

use crate::HistoryError;

/// Takes the lease, renews it, or gives it up where there is no time. False while another holder has it.
pub(super) async fn take(session: &PostgresSession, holder: &str, time: Duration) -> Result<bool, HistoryError> {
    let take = "INSERT INTO lease VALUES (1, $1, now() + $2 * interval '1 millisecond')
        ON CONFLICT (one) DO UPDATE SET holder = excluded.holder, expires_at = excluded.expires_at
        WHERE lease.holder = excluded.holder OR lease.expires_at < now()";
    let given: Parameters<'_> = &[(&holder, Type::TEXT), (&(time.as_millis() as f64), Type::FLOAT8)];
    Ok(session.execute(QUICK, take, given).await? > 0)
}
