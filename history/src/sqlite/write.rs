//! Writing batches.
//!
//! A batch takes a transaction for each day and file: the records of a day with their counts, then its bodies, and the
//! position last. A crash in between repeats the batch, and what is written already is recognised by its key.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior::Immediate, params};

use super::{
    folder::Part,
    names,
    rows::{find_delivery, put_delivery},
    writer::Writer,
};
use crate::{
    Batch, HistoryError, Record, Written,
    day::Day,
    draft::{CountKey, DayRows, KnownEvent, NewBody, NewEvent, NumberedRecord, draft},
    durations::Durations,
    names::Names,
    row::{AttemptRow, DeliveryKey, DeliveryRow, owner_of_bodies, signed},
    share::{Keeps, keeps},
};

impl Writer {
    pub(super) fn write(&mut self, batch: Batch, position: Option<u64>, oldest: Day) -> Result<Written, HistoryError> {
        let Batch { process, covers_until, ends, gaps, records } = batch;
        let mut written = Written::default();
        let mut by_day: BTreeMap<Day, Vec<NumberedRecord>> = BTreeMap::new();
        for (day, numbered) in self.numbered(records)? {
            match day < oldest {
                true => written.too_old += 1,
                false => by_day.entry(day).or_default().push(numbered),
            }
        }
        for (day, records) in by_day {
            self.write_day(day, records, &mut written)?;
        }
        let transaction = self.meta.transaction_with_behavior(Immediate)?;
        if ends {
            transaction.prepare_cached("DELETE FROM processes WHERE id = ?1")?.execute([&process])?;
        } else if !process.is_empty() {
            let note = "INSERT INTO processes (id, covers_until) VALUES (?1, ?2)
                ON CONFLICT (id) DO UPDATE SET covers_until = max(covers_until, excluded.covers_until)";
            transaction.prepare_cached(note)?.execute(params![process, signed(covers_until)])?;
        }
        for gap in &gaps {
            super::coverage::insert(&transaction, gap)?;
        }
        if let Some(position) = position {
            let set = "INSERT OR REPLACE INTO position (stream, value) VALUES (0, ?1)";
            transaction.prepare_cached(set)?.execute([signed(position)])?;
        }
        transaction.commit()?;
        Ok(written)
    }

    /// Gives the tenants and endpoints of records their numbers.
    fn numbered(&mut self, records: Vec<Record>) -> Result<Vec<(Day, NumberedRecord)>, HistoryError> {
        let transaction = self.meta.transaction_with_behavior(Immediate)?;
        let numbered = records.into_iter().map(|record| number(&self.names, &transaction, record)).collect();
        let numbered: Result<Vec<_>, HistoryError> = match numbered {
            Ok(numbered) => transaction.commit().map(|()| numbered).map_err(Into::into),
            Err(error) => {
                drop(transaction);
                Err(error)
            }
        };
        let mut numbered = match numbered {
            Ok(numbered) => numbered,
            Err(error) => {
                // Numbers that were not committed must not be used.
                names::load(&self.meta, &self.names)?;
                return Err(error);
            }
        };
        for (_, one) in &mut numbered {
            one.keeps = keeps(self.kept.of(one.tenant), self.kept.of_others(one.tenant), self.max_bytes);
        }
        Ok(numbered)
    }

    fn write_day(&mut self, day: Day, records: Vec<NumberedRecord>, written: &mut Written) -> Result<(), HistoryError> {
        let names = self.names.clone();
        let connection = self.files.connection(day, Part::Records)?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        let changes = draft(&mut DayFile { file: &transaction, names: &names }, records, written)?;
        for (key, row) in &changes.deliveries {
            put_delivery(&transaction, key, row)?;
        }
        for (key, (count, durations)) in changes.counts {
            add_count(&transaction, key, count, durations)?;
        }
        transaction.commit()?;
        if !changes.bodies.is_empty() {
            let connection = self.files.connection(day, Part::Bodies)?;
            let transaction = connection.transaction_with_behavior(Immediate)?;
            for NewBody { event, tenant, event_id, shape, packed, .. } in changes.bodies {
                let insert = "INSERT OR IGNORE INTO bodies (event, shape, of, body) VALUES (?1, ?2, ?3, ?4)";
                let of = owner_of_bodies(tenant, &event_id);
                transaction.prepare_cached(insert)?.execute(params![event, shape, of, packed])?;
            }
            transaction.commit()?;
        }
        self.add_kept(day, &changes.bytes)
    }
}

fn number(known: &Names, meta: &Transaction<'_>, record: Record) -> Result<(Day, NumberedRecord), HistoryError> {
    let (tenant, key) = names::tenant_or_new(meta, known, record.tenant())?;
    match &record {
        Record::Event(event) => {
            for delivery in &event.deliveries {
                names::endpoint_or_new(meta, known, tenant, &delivery.endpoint_id)?;
            }
        }
        Record::Attempt(attempt) => _ = names::endpoint_or_new(meta, known, tenant, &attempt.delivery.endpoint_id)?,
        Record::Run(run) => _ = names::endpoint_or_new(meta, known, tenant, &run.delivery.endpoint_id)?,
    }
    let day = Day::of(record.accepted_at());
    Ok((day, NumberedRecord { record, tenant, key, keeps: Keeps::Everything }))
}

/// The file of a day, in a transaction.
struct DayFile<'a> {
    file: &'a Transaction<'a>,
    names: &'a Names,
}

impl DayRows for DayFile<'_> {
    fn endpoint(&self, tenant: i64, id: &str) -> Result<i64, HistoryError> {
        self.names.endpoint(tenant, id).ok_or_else(|| HistoryError("an endpoint has no number".to_owned()))
    }

    fn find_event(&mut self, tenant: i64, id: &str) -> Result<Option<KnownEvent>, HistoryError> {
        let select = "SELECT no, is_whole, is_erased FROM events WHERE id = ?1 AND tenant = ?2";
        let mut select = self.file.prepare_cached(select)?;
        let found = select.query_row(params![id, tenant], |row| {
            Ok(KnownEvent { no: row.get(0)?, is_whole: row.get(1)?, is_erased: row.get(2)? })
        });
        Ok(found.optional()?)
    }

    fn find_delivery(&mut self, key: &DeliveryKey) -> Result<Option<DeliveryRow>, HistoryError> {
        find_delivery(self.file, key)
    }

    fn insert_event(&mut self, event: NewEvent) -> Result<i64, HistoryError> {
        let insert = "INSERT INTO events
            (tenant, id, type, source, accepted_at, occurred_at, channel, queue, ticket, protocol, contact, matched,
             unmatched, shape, is_whole, is_erased)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, ?15, 0)";
        self.file.prepare_cached(insert)?.execute(params![
            event.tenant,
            event.id,
            event.event_type,
            event.source,
            event.accepted_at,
            event.occurred_at,
            event.channel,
            event.queue,
            event.ticket,
            event.protocol,
            event.contact,
            event.matched,
            event.unmatched,
            event.shape,
            event.is_whole,
        ])?;
        Ok(self.file.last_insert_rowid())
    }

    fn fill_event(&mut self, no: i64, event: NewEvent) -> Result<(), HistoryError> {
        let update = "UPDATE events SET source = ?2, occurred_at = ?3, channel = ?4, queue = ?5, ticket = ?6,
            protocol = ?7, contact = ?8, unmatched = ?9, shape = ?10, is_whole = 1 WHERE no = ?1";
        self.file.prepare_cached(update)?.execute(params![
            no,
            event.source,
            event.occurred_at,
            event.channel,
            event.queue,
            event.ticket,
            event.protocol,
            event.contact,
            event.unmatched,
            event.shape,
        ])?;
        Ok(())
    }

    fn insert_attempt(&mut self, key: &DeliveryKey, attempt: AttemptRow) -> Result<bool, HistoryError> {
        let insert =
            "INSERT OR IGNORE INTO attempts (event, endpoint, part, run_began, number, at, next_due, deferrals, post)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let inserted = self.file.prepare_cached(insert)?.execute(params![
            key.event,
            key.endpoint,
            key.part,
            attempt.run_began,
            attempt.number,
            attempt.at,
            attempt.next_due,
            attempt.deferrals,
            attempt.post,
        ])?;
        Ok(inserted > 0)
    }
}

fn add_count(
    file: &Connection,
    (hour, tenant, endpoint, what): CountKey,
    count: u64,
    mut durations: Durations,
) -> Result<(), HistoryError> {
    let key = params![hour, tenant, endpoint, what];
    let select = "SELECT count, durations FROM counts WHERE hour = ?1 AND tenant = ?2 AND endpoint = ?3 AND what = ?4";
    let known = file
        .prepare_cached(select)?
        .query_row(key, |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Option<Vec<u8>>>(1)?)));
    let mut total = signed(count);
    if let Some((known, before)) = known.optional()? {
        total += known;
        durations.merge(&Durations::from_bytes(&before.unwrap_or_default()));
    }
    let put = "INSERT OR REPLACE INTO counts (hour, tenant, endpoint, what, count, durations) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let bytes = Some(durations.to_bytes()).filter(|bytes| !bytes.is_empty());
    file.prepare_cached(put)?.execute(params![hour, tenant, endpoint, what, total, bytes])?;
    Ok(())
}
