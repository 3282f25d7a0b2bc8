//! Writing batches. All records of one delivery are applied to its row in memory, and the row is written once.
//!
//! A batch takes a transaction for each day and file: the records of a day with their counts, then its bodies, and the
//! position last. A crash in between repeats the batch, and what is written already is recognised by its key.

use std::collections::{BTreeMap, HashMap};

use rusqlite::{Connection, OptionalExtension as _, Transaction, TransactionBehavior::Immediate, params};

use super::{
    folder::{Day, Part},
    names,
    rows::{find_delivery, put_delivery},
    writer::Writer,
};
use crate::{
    AttemptRecord, Batch, EventRecord, HistoryError, OwedDelivery, Record, RecordedDelivery, RecordedVerdict,
    RunRecord, TenantKey, Written, body,
    durations::Durations,
    names::Names,
    row::{DeliveryKey, DeliveryRow, blank, owner_of_bodies, pack_post, signed},
    share::{Keeps, keeps},
    stats::{DEAD, EVENTS, HOUR_MS, NO_ENDPOINT},
    token,
};

/// A record whose tenant and endpoints have numbers.
struct Numbered {
    record: Record,
    tenant: i64,
    key: TenantKey,
    keeps: Keeps,
}

impl Writer {
    pub(super) fn write(&mut self, batch: Batch, position: Option<u64>, oldest: Day) -> Result<Written, HistoryError> {
        let Batch { process, covers_until, ends, gaps, records } = batch;
        let mut written = Written::default();
        let mut by_day: BTreeMap<Day, Vec<Numbered>> = BTreeMap::new();
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
    fn numbered(&mut self, records: Vec<Record>) -> Result<Vec<(Day, Numbered)>, HistoryError> {
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

    fn write_day(&mut self, day: Day, records: Vec<Numbered>, written: &mut Written) -> Result<(), HistoryError> {
        let names = self.names.clone();
        let connection = self.files.connection(day, Part::Records)?;
        let transaction = connection.transaction_with_behavior(Immediate)?;
        let mut draft = DayDraft::new(&transaction, &names);
        // Events first: what an attempt tells of its event is less.
        let (events, others): (Vec<_>, Vec<_>) =
            records.into_iter().partition(|numbered| matches!(numbered.record, Record::Event(_)));
        for Numbered { record, tenant, key, keeps } in events.into_iter().chain(others) {
            written.over_share += u64::from(keeps != Keeps::Everything);
            if keeps == Keeps::Nothing {
                continue;
            }
            let is_new = match record {
                Record::Event(event) => draft.event(&event, tenant, &key, keeps)?,
                Record::Attempt(attempt) => draft.attempt(&attempt, tenant)?,
                Record::Run(run) => draft.run(*run, tenant, keeps)?,
            };
            match is_new {
                true => written.records += 1,
                false => written.repeated += 1,
            }
        }
        let (bodies, bytes) = draft.finish()?;
        transaction.commit()?;
        if !bodies.is_empty() {
            let connection = self.files.connection(day, Part::Bodies)?;
            let transaction = connection.transaction_with_behavior(Immediate)?;
            for NewBody { event, shape, of, packed } in bodies {
                let insert = "INSERT OR IGNORE INTO bodies (event, shape, of, body) VALUES (?1, ?2, ?3, ?4)";
                transaction.prepare_cached(insert)?.execute(params![event, shape, of, packed])?;
            }
            transaction.commit()?;
        }
        self.add_kept(day, &bytes)
    }
}

fn number(known: &Names, meta: &Transaction<'_>, record: Record) -> Result<(Day, Numbered), HistoryError> {
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
    Ok((day, Numbered { record, tenant, key, keeps: Keeps::Everything }))
}

pub(super) struct NewBody {
    event: i64,
    shape: body::Shape,
    of: i64,
    packed: Vec<u8>,
}

/// An event in the file.
#[derive(Clone, Copy)]
struct KnownEvent {
    no: i64,
    is_whole: bool,
    is_erased: bool,
}

/// What is counted: hour, tenant, endpoint and word.
type CountKey = (i64, i64, i64, &'static str);

/// One day's part of a batch while it is applied.
struct DayDraft<'a> {
    file: &'a Transaction<'a>,
    names: &'a Names,
    events: HashMap<(i64, String), KnownEvent>,
    /// The rows, and whether each has changed.
    deliveries: HashMap<DeliveryKey, (DeliveryRow, bool)>,
    counts: HashMap<CountKey, (u64, Durations)>,
    bodies: Vec<NewBody>,
    bytes: HashMap<i64, u64>,
}

impl<'a> DayDraft<'a> {
    fn new(file: &'a Transaction<'a>, names: &'a Names) -> Self {
        Self {
            file,
            names,
            events: HashMap::new(),
            deliveries: HashMap::new(),
            counts: HashMap::new(),
            bodies: Vec::new(),
            bytes: HashMap::new(),
        }
    }

    /// Applies the record of an event. True when it is new.
    fn event(&mut self, event: &EventRecord, tenant: i64, key: &TenantKey, keeps: Keeps) -> Result<bool, HistoryError> {
        let known = self.known_event(tenant, event.id.as_str())?;
        let is_new = known.is_none_or(|known| !known.is_whole);
        let shapes: Vec<_> = event.bodies.iter().map(|body| (!body.is_empty()).then(|| body::shape(body))).collect();
        let event_shape = shapes.first().copied().flatten();
        let no = match known {
            Some(KnownEvent { no, is_whole: true, .. }) => no,
            Some(KnownEvent { no, is_erased, .. }) => {
                self.fill(no, event, (!is_erased).then_some(key), event_shape)?;
                no
            }
            None => self.insert(tenant, event, key, event_shape)?,
        };
        let is_erased = known.is_some_and(|known| known.is_erased);
        self.events.insert((tenant, event.id.to_string()), KnownEvent { no, is_whole: true, is_erased });
        if is_new {
            self.count(event.accepted_at, tenant, NO_ENDPOINT, EVENTS);
            self.add_bytes(tenant, 400 + 100 * event.unmatched.len() as u64);
        }
        let mut endpoints = Vec::new();
        for owed in &event.deliveries {
            let OwedDelivery { id, endpoint_id, part, subscriptions, body, run_began } = owed;
            let delivery = RecordedDelivery {
                id: *id,
                tenant: String::new(),
                event_id: event.id.clone(),
                event_type: event.event_type.clone(),
                endpoint_id: endpoint_id.clone(),
                part: part.clone(),
                accepted_at: event.accepted_at,
                run_began: *run_began,
                subscriptions: subscriptions.clone(),
            };
            let key = self.delivery_of(no, tenant, &delivery)?;
            let shape = shapes.get(*body).copied().flatten();
            let (row, has_changed) =
                self.deliveries.entry(key.clone()).or_insert_with(|| (DeliveryRow::default(), true));
            row.begin_run(*run_began);
            row.shape = row.shape.or(shape);
            if row.subscriptions.is_empty() {
                row.subscriptions = subscriptions.join(",");
            }
            *has_changed = true;
            endpoints.push(key.endpoint);
        }
        if is_new {
            endpoints.sort_unstable();
            endpoints.dedup();
            for endpoint in endpoints {
                self.count(event.accepted_at, tenant, endpoint, EVENTS);
            }
        }
        if keeps == Keeps::Everything && !is_erased {
            let of = owner_of_bodies(tenant, event.id.as_str());
            for (body, shape) in event.bodies.iter().zip(shapes) {
                self.add_body(no, tenant, of, body, shape, is_new);
            }
        }
        Ok(is_new)
    }

    /// Applies the record of an attempt, or of an end without one. True when it is new.
    fn attempt(&mut self, attempt: &AttemptRecord, tenant: i64) -> Result<bool, HistoryError> {
        let AttemptRecord { delivery, number, at, post, verdict, deferrals } = attempt;
        let event = self.event_or_stub(tenant, delivery)?;
        let key = self.delivery_of(event.no, tenant, delivery)?;
        let mut post = post.clone();
        if event.is_erased
            && let Some(post) = &mut post
        {
            blank(post);
        }
        let packed = post.as_ref().map(pack_post);
        let due = match verdict {
            RecordedVerdict::Retry(due) => Some(signed(*due)),
            RecordedVerdict::Delivered | RecordedVerdict::Dead(_) => None,
        };
        let insert =
            "INSERT OR IGNORE INTO attempts (event, endpoint, part, run_began, number, at, next_due, deferrals, post)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
        let inserted = self.file.prepare_cached(insert)?.execute(params![
            key.event,
            key.endpoint,
            key.part,
            signed(delivery.run_began),
            number,
            signed(*at),
            due,
            deferrals,
            packed
        ])?;
        if inserted == 0 {
            return Ok(false);
        }
        let endpoint = key.endpoint;
        let (row, has_changed) = self.deliveries.entry(key).or_insert_with(|| (DeliveryRow::default(), true));
        row.apply(delivery.run_began, *number, post.as_ref().map(|post| post.outcome), *verdict);
        *has_changed = true;
        let ended = at + post.as_ref().map_or(0, |post| post.duration_ms);
        if let Some(post) = &post {
            let durations = self.count(ended, tenant, endpoint, post.outcome.as_str());
            durations.add(post.duration_ms);
        }
        if let RecordedVerdict::Dead(_) = verdict {
            self.count(ended, tenant, endpoint, DEAD);
        }
        self.add_bytes(tenant, 150 + packed.map_or(0, |packed| packed.len() as u64));
        Ok(true)
    }

    /// Applies the record of another life. True when it is new.
    fn run(&mut self, run: RunRecord, tenant: i64, keeps: Keeps) -> Result<bool, HistoryError> {
        let RunRecord { delivery, body } = run;
        let event = self.event_or_stub(tenant, &delivery)?;
        let key = self.delivery_of(event.no, tenant, &delivery)?;
        let body = body.filter(|body| !body.is_empty() && keeps == Keeps::Everything && !event.is_erased);
        let shape = body.as_deref().map(body::shape);
        let (row, has_changed) = self.deliveries.entry(key).or_insert_with(|| (DeliveryRow::default(), true));
        let is_new = row.begin_run(delivery.run_began);
        row.shape = row.shape.or(shape);
        *has_changed = true;
        if let Some(body) = &body {
            self.add_body(event.no, tenant, owner_of_bodies(tenant, delivery.event_id.as_str()), body, shape, is_new);
        }
        Ok(is_new)
    }

    fn known_event(&mut self, tenant: i64, id: &str) -> Result<Option<KnownEvent>, HistoryError> {
        if let Some(known) = self.events.get(&(tenant, id.to_owned())) {
            return Ok(Some(*known));
        }
        let select = "SELECT no, is_whole, is_erased FROM events WHERE id = ?1 AND tenant = ?2";
        let mut select = self.file.prepare_cached(select)?;
        let found = select.query_row(params![id, tenant], |row| {
            Ok(KnownEvent { no: row.get(0)?, is_whole: row.get(1)?, is_erased: row.get(2)? })
        });
        Ok(found.optional()?)
    }

    /// The event of a delivery, with what the delivery tells of it where its own record has not come.
    fn event_or_stub(&mut self, tenant: i64, delivery: &RecordedDelivery) -> Result<KnownEvent, HistoryError> {
        let id = delivery.event_id.as_str();
        let event = match self.known_event(tenant, id)? {
            Some(known) => known,
            None => {
                let insert = "INSERT INTO events
                    (tenant, id, type, source, accepted_at, occurred_at, matched, is_whole, is_erased)
                    VALUES (?1, ?2, ?3, '', ?4, ?4, 1, 0, 0)";
                let at = signed(delivery.accepted_at);
                self.file.prepare_cached(insert)?.execute(params![tenant, id, delivery.event_type.as_str(), at])?;
                self.add_bytes(tenant, 200);
                KnownEvent { no: self.file.last_insert_rowid(), is_whole: false, is_erased: false }
            }
        };
        self.events.insert((tenant, id.to_owned()), event);
        Ok(event)
    }

    fn insert(
        &mut self,
        tenant: i64,
        event: &EventRecord,
        key: &TenantKey,
        shape: Option<body::Shape>,
    ) -> Result<i64, HistoryError> {
        let insert = "INSERT INTO events
            (tenant, id, type, source, accepted_at, occurred_at, channel, queue, ticket, protocol, contact, matched,
             unmatched, shape, is_whole, is_erased)
            VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14, 1, 0)";
        self.file.prepare_cached(insert)?.execute(params![
            tenant,
            event.id.as_str(),
            event.event_type.as_str(),
            event.source,
            signed(event.accepted_at),
            signed(event.occurred_at),
            event.channel_id,
            event.queue_id,
            event.ticket_id,
            event.protocol,
            event.contact.as_deref().map(|contact| token(key, contact)),
            !event.deliveries.is_empty(),
            unmatched(event),
            shape,
        ])?;
        Ok(self.file.last_insert_rowid())
    }

    /// Adds to an event of which only deliveries told what its own record tells; the contact only with the key.
    fn fill(
        &mut self,
        no: i64,
        event: &EventRecord,
        key: Option<&TenantKey>,
        shape: Option<body::Shape>,
    ) -> Result<(), HistoryError> {
        let update = "UPDATE events SET source = ?2, occurred_at = ?3, channel = ?4, queue = ?5, ticket = ?6,
            protocol = ?7, contact = ?8, unmatched = ?9, shape = ?10, is_whole = 1 WHERE no = ?1";
        self.file.prepare_cached(update)?.execute(params![
            no,
            event.source,
            signed(event.occurred_at),
            event.channel_id,
            event.queue_id,
            event.ticket_id,
            event.protocol,
            key.and_then(|key| Some(token(key, event.contact.as_deref()?))),
            unmatched(event),
            shape,
        ])?;
        Ok(())
    }

    /// The key of a delivery, whose row is in the draft from then on.
    fn delivery_of(
        &mut self,
        event: i64,
        tenant: i64,
        delivery: &RecordedDelivery,
    ) -> Result<DeliveryKey, HistoryError> {
        let endpoint = self.names.endpoint(tenant, &delivery.endpoint_id);
        let endpoint = endpoint.ok_or_else(|| HistoryError("an endpoint has no number".to_owned()))?;
        let key = DeliveryKey { event, endpoint, part: delivery.part.clone() };
        if !self.deliveries.contains_key(&key) {
            let row = match find_delivery(self.file, &key)? {
                Some(row) => (row, false),
                None => {
                    self.add_bytes(tenant, 250);
                    (DeliveryRow::new(tenant, delivery), true)
                }
            };
            self.deliveries.insert(key.clone(), row);
        }
        Ok(key)
    }

    fn add_body(&mut self, event: i64, tenant: i64, of: i64, body: &[u8], shape: Option<body::Shape>, is_new: bool) {
        let Some(shape) = shape else { return };
        let packed = body::pack(body);
        if is_new {
            self.add_bytes(tenant, 50 + packed.len() as u64);
        }
        self.bodies.push(NewBody { event, shape, of, packed });
    }

    /// Counts one, and returns the durations that are counted with it.
    fn count(&mut self, at: u64, tenant: i64, endpoint: i64, what: &'static str) -> &mut Durations {
        let key = (signed(at / HOUR_MS), tenant, endpoint, what);
        let (count, durations) = self.counts.entry(key).or_default();
        *count += 1;
        durations
    }

    fn add_bytes(&mut self, tenant: i64, bytes: u64) {
        *self.bytes.entry(tenant).or_default() += bytes;
    }

    /// Writes the rows and the counts. Returns the bodies, and the bytes of each tenant.
    fn finish(self) -> Result<(Vec<NewBody>, HashMap<i64, u64>), HistoryError> {
        for (key, (row, has_changed)) in &self.deliveries {
            if *has_changed {
                put_delivery(self.file, key, row)?;
            }
        }
        for ((hour, tenant, endpoint, what), (count, durations)) in self.counts {
            add_count(self.file, (hour, tenant, endpoint, what), count, durations)?;
        }
        Ok((self.bodies, self.bytes))
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

fn unmatched(event: &EventRecord) -> Option<String> {
    if event.unmatched.is_empty() { None } else { serde_json::to_string(&event.unmatched).ok() }
}
