//! Tenants and endpoints in the database, and what this process knows of them. Several processes add to them.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use service::{
    chance,
    postgres::{DatabaseError, PostgresSession, QUICK},
};
use tokio_postgres::types::Type;

use super::days::begin_to_write;
use crate::{
    HistoryError, Record, TenantKey,
    names::{KnownNames, Names},
};

/// How many tenants were forgotten, and the last numbers of tenants and of endpoints.
type Seen = (i64, i64, i64);

#[derive(Default)]
pub(super) struct NameCache {
    names: Names,
    seen: Mutex<Option<Seen>>,
}

impl NameCache {
    /// What the database has now. Every call asks it, so that a tenant that another process has forgotten is hidden at once.
    pub(super) async fn current(&self, session: &PostgresSession) -> Result<&Names, DatabaseError> {
        let sql = "SELECT forgotten, (SELECT coalesce(max(no), 0) FROM tenants),
            (SELECT coalesce(max(no), 0) FROM endpoints) FROM meta";
        let rows = session.query(QUICK, sql, &[]).await?;
        let now: Seen = rows.first().map_or((0, 0, 0), |row| (row.get(0), row.get(1), row.get(2)));
        let before = *self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        if before == Some(now) {
            return Ok(&self.names);
        }
        // Whatever was there when a tenant was forgotten is read again.
        let kept = before.filter(|before| before.0 == now.0);
        let (_, tenant, endpoint) = kept.unwrap_or_default();
        let known = load(session, tenant, endpoint).await?;
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match kept {
            Some(_) => self.names.add_all(known),
            // Another call may have read it later than this one.
            None if *seen > Some(now) => {}
            None => self.names.replace(known),
        }
        *seen = (*seen).max(Some(now));
        Ok(&self.names)
    }
}

/// Reads the names with greater numbers.
async fn load(session: &PostgresSession, tenant: i64, endpoint: i64) -> Result<KnownNames, DatabaseError> {
    let mut known = KnownNames::default();
    let sql = "SELECT no, name, key FROM tenants WHERE no > $1 AND name IS NOT NULL";
    for row in session.query(QUICK, sql, &[(&tenant, Type::INT8)]).await? {
        let key: Vec<u8> = row.get(2);
        known.add_tenant(row.get(1), row.get(0), TenantKey::try_from(key).unwrap_or_default());
    }
    let sql = "SELECT no, tenant, id FROM endpoints WHERE no > $1";
    for row in session.query(QUICK, sql, &[(&endpoint, Type::INT8)]).await? {
        known.add_endpoint(row.get(1), row.get(2), row.get(0));
    }
    Ok(known)
}

/// The numbers of a batch's tenants and endpoints, of which some are new in the transaction that is under way.
#[derive(Default)]
pub(super) struct BatchNames {
    tenants: HashMap<String, (i64, TenantKey)>,
    endpoints: HashMap<(i64, String), i64>,
}

impl BatchNames {
    /// Finds the numbers, and makes those that are missing.
    pub(super) async fn of(
        session: &PostgresSession,
        cache: &NameCache,
        records: &[Record],
    ) -> Result<Self, HistoryError> {
        let names = cache.current(session).await?;
        let mut all = Self::default();
        all.add_tenants(session, names, records.iter().map(Record::tenant)).await?;
        all.add_endpoints(session, names, records).await?;
        Ok(all)
    }

    async fn add_tenants(
        &mut self,
        session: &PostgresSession,
        names: &Names,
        tenants: impl Iterator<Item = &str> + Send,
    ) -> Result<(), HistoryError> {
        let mut missing: HashMap<&str, TenantKey> = HashMap::new();
        for tenant in tenants {
            if self.tenants.contains_key(tenant) || missing.contains_key(tenant) {
                continue;
            }
            match names.tenant(tenant) {
                Some(known) => _ = self.tenants.insert(tenant.to_owned(), known),
                None => {
                    let key = chance::random().map_err(|error| HistoryError(error.to_string()))?;
                    missing.insert(tenant, key);
                }
            }
        }
        Ok(self.insert_tenants(session, missing).await?)
    }

    async fn add_endpoints(
        &mut self,
        session: &PostgresSession,
        names: &Names,
        records: &[Record],
    ) -> Result<(), DatabaseError> {
        let mut missing = Vec::new();
        for record in records {
            let Some((tenant, _)) = self.tenant(record.tenant()) else { continue };
            for endpoint in endpoints_of(record) {
                let key = (tenant, endpoint.to_owned());
                if self.endpoints.contains_key(&key) {
                    continue;
                }
                let known = names.endpoint(tenant, endpoint);
                if known.is_none() {
                    missing.push(key.clone());
                }
                self.endpoints.insert(key, known.unwrap_or_default());
            }
        }
        self.insert_endpoints(session, missing).await
    }

    pub(super) fn tenant(&self, name: &str) -> Option<(i64, TenantKey)> {
        self.tenants.get(name).copied()
    }

    pub(super) fn endpoint(&self, tenant: i64, id: &str) -> Option<i64> {
        self.endpoints.get(&(tenant, id.to_owned())).copied()
    }

    async fn insert_tenants(
        &mut self,
        session: &PostgresSession,
        missing: HashMap<&str, TenantKey>,
    ) -> Result<(), DatabaseError> {
        if missing.is_empty() {
            return Ok(());
        }
        let (names, keys): (Vec<_>, Vec<_>) = missing.iter().map(|(name, key)| (*name, &key[..])).unzip();
        let sql = "INSERT INTO tenants (name, key) SELECT * FROM unnest($1::text[], $2::bytea[]) RETURNING no, name";
        let given = &[(&names as _, Type::TEXT_ARRAY), (&keys as _, Type::BYTEA_ARRAY)];
        for row in session.query(QUICK, sql, given).await? {
            let name: String = row.get(1);
            let key = missing.get(&*name).copied().unwrap_or_default();
            self.tenants.insert(name, (row.get(0), key));
        }
        Ok(())
    }

    async fn insert_endpoints(
        &mut self,
        session: &PostgresSession,
        missing: Vec<(i64, String)>,
    ) -> Result<(), DatabaseError> {
        if missing.is_empty() {
            return Ok(());
        }
        let (tenants, ids): (Vec<_>, Vec<_>) = missing.into_iter().unzip();
        let sql = "INSERT INTO endpoints (tenant, id) SELECT * FROM unnest($1::int8[], $2::text[])
            RETURNING no, tenant, id";
        let given = &[(&tenants as _, Type::INT8_ARRAY), (&ids as _, Type::TEXT_ARRAY)];
        for row in session.query(QUICK, sql, given).await? {
            self.endpoints.insert((row.get(1), row.get(2)), row.get(0));
        }
        Ok(())
    }
}

/// The key of a tenant, which gets one if it has none.
pub(super) async fn key_or_new(
    session: &PostgresSession,
    cache: &NameCache,
    name: &str,
) -> Result<TenantKey, HistoryError> {
    begin_to_write(session).await?;
    let key = async {
        let mut names = BatchNames::default();
        names.add_tenants(session, cache.current(session).await?, [name].into_iter()).await?;
        names.tenant(name).map(|(_, key)| key).ok_or_else(|| HistoryError("a tenant has no key".to_owned()))
    };
    let key = key.await;
    session.end(key).await
}

fn endpoints_of(record: &Record) -> Vec<&str> {
    match record {
        Record::Event(event) => event.deliveries.iter().map(|delivery| &*delivery.endpoint_id).collect(),
        Record::Attempt(attempt) => vec![&attempt.delivery.endpoint_id],
        Record::Run(run) => vec![&run.delivery.endpoint_id],
    }
}

/// Takes its name and its key from a tenant: nothing is found under it any more, and no token of it can be made.
pub(super) async fn forget(session: &PostgresSession, name: &str) -> Result<(), DatabaseError> {
    begin_to_write(session).await?;
    let forgotten = forget_within(session, name).await;
    session.end(forgotten).await
}

async fn forget_within(session: &PostgresSession, name: &str) -> Result<(), DatabaseError> {
    let sql = "UPDATE tenants SET name = NULL, key = '' WHERE name = $1 RETURNING no";
    let rows = session.query(QUICK, sql, &[(&name, Type::TEXT)]).await?;
    let Some(no) = rows.first().map(|row| row.get::<_, i64>(0)) else { return Ok(()) };
    for table in ["endpoints", "kept"] {
        let sql = format!("DELETE FROM {table} WHERE tenant = $1");
        session.execute(QUICK, &sql, &[(&no, Type::INT8)]).await?;
    }
    session.batch("UPDATE meta SET forgotten = forgotten + 1").await
}

/// The tenants that are forgotten and of which records may be left.
pub(super) async fn forgotten(session: &PostgresSession) -> Result<Vec<i64>, DatabaseError> {
    let rows = session.query(QUICK, "SELECT no FROM tenants WHERE name IS NULL", &[]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

/// Removes a forgotten tenant of which nothing is left.
pub(super) async fn remove(session: &PostgresSession, no: i64) -> Result<(), DatabaseError> {
    session.execute(QUICK, "DELETE FROM tenants WHERE no = $1", &[(&no, Type::INT8)]).await.map(drop)
}
