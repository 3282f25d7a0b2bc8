//! How many deliveries wait that carry certain headers: counted in the file, on a connection of its own that can only
//! look, in one transaction, so that none is missed or counted twice while it moves. The writer does not notice.

use std::path::{Path, PathBuf};

use rusqlite::{Connection, params_from_iter, types::ValueRef};
use schemas::{HeaderValue, Headers};

use super::codec;
use crate::ReadError;

/// Counts without blocking.
pub(super) async fn waiting(path: PathBuf, with: &[(&str, &str)]) -> Result<u64, ReadError> {
    let with: Vec<_> = with.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    let counted = tokio::task::spawn_blocking(move || count(&path, &with)).await;
    counted.map_err(|error| ReadError(error.to_string()))?.map_err(|error| ReadError(error.to_string()))
}

fn count(path: &Path, with: &[(String, String)]) -> rusqlite::Result<u64> {
    let mut connection = service::sqlite_file::open_read_only(path)?;
    let transaction = connection.transaction()?;
    let mut waiting = 0;
    for table in ["fast", "slow", "later"] {
        waiting += count_in(&transaction, table, with)?;
    }
    Ok(waiting)
}

/// SQLite leaves out the rows in whose headers the bytes do not occur at all, and reads no bodies for that; of the
/// others the headers are decoded, since such bytes could also be a part of some other text.
fn count_in(file: &Connection, table: &str, with: &[(String, String)]) -> rusqlite::Result<u64> {
    let occurs = (1..=with.len()).map(|nth| format!("instr(headers, ?{nth})")).collect::<Vec<_>>().join(" AND ");
    let occurs = if with.is_empty() { "TRUE" } else { &occurs };
    let mut rows = file.prepare(&format!("SELECT headers FROM {table} WHERE {occurs}"))?;
    let mut rows = rows.query(params_from_iter(with.iter().map(|(name, value)| encoded(name, value))))?;
    let wanted: Vec<_> = with.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
    let mut found = 0;
    while let Some(row) = rows.next()? {
        let ValueRef::Blob(bytes) = row.get_ref(0)? else { continue };
        found += u64::from(codec::decode(bytes).is_ok_and(|headers| headers.have(&wanted)));
    }
    Ok(found)
}

/// A header as it stands in a row.
fn encoded(name: &str, value: &str) -> Vec<u8> {
    let mut headers = Headers::default();
    headers.set(name.to_owned(), HeaderValue::Text(value.into()));
    codec::encode(&headers, None)
}
