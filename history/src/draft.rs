//! Applying a batch to the rows of a day, in memory: what is new, what a delivery becomes, what is counted.

use std::collections::HashMap;

use crate::{
    AttemptRecord, ContactToken, EventRecord, HistoryError, OwedDelivery, Record, RecordedDelivery, RecordedVerdict,
    RunRecord, TenantKey, Written, body,
    durations::Durations,
    names::Names,
    row::{DeliveryKey, DeliveryRow, blank, owner_of_bodies, pack_post, signed},
    share::Keeps,
    stats::{DEAD, EVENTS, HOUR_MS, NO_ENDPOINT},
    token,
};

/// A record whose tenant and endpoints have numbers.
pub(crate) struct Numbered {
    pub(crate) record: Record,
    pub(crate) tenant: i64,
    pub(crate) key: TenantKey,
    pub(crate) keeps: Keeps,
}

pub(crate) struct NewBody {
    pub(crate) event: i64,
    pub(crate) shape: body::Shape,
    /// Names the event beside its number.
    pub(crate) of: i64,
    pub(crate) packed: Vec<u8>,
}

/// An event that is kept.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownEvent {
    pub(crate) no: i64,
    /// False while only deliveries told of it.
    pub(crate) is_whole: bool,
    pub(crate) is_erased: bool,
}

/// The columns of an event.
pub(crate) struct NewEvent<'a> {
    pub(crate) tenant: i64,
    pub(crate) id: &'a str,
    pub(crate) event_type: &'a str,
    pub(crate) source: &'a str,
    /// Unix milliseconds, as the next.
    pub(crate) accepted_at: u64,
    pub(crate) occurred_at: u64,
    pub(crate) channel: Option<&'a str>,
    pub(crate) queue: Option<&'a str>,
    pub(crate) ticket: Option<&'a str>,
    pub(crate) protocol: Option<&'a str>,
    pub(crate) contact: Option<ContactToken>,
    pub(crate) matched: bool,
    /// JSON.
    pub(crate) unmatched: Option<String>,
    pub(crate) shape: Option<body::Shape>,
    pub(crate) is_whole: bool,
}

/// The columns of an attempt, or of an end without one.
pub(crate) struct NewAttempt<'a> {
    pub(crate) key: &'a DeliveryKey,
    /// Unix milliseconds, as the next but one.
    pub(crate) run_began: u64,
    pub(crate) number: u32,
    pub(crate) at: u64,
    pub(crate) next_due: Option<u64>,
    pub(crate) deferrals: u32,
    pub(crate) post: Option<Vec<u8>>,
}

/// The rows of a day, as a backend has them.
pub(crate) trait DayRows {
    fn event(&mut self, tenant: i64, id: &str) -> Result<Option<KnownEvent>, HistoryError>;

    /// Returns its number.
    fn insert_event(&mut self, event: &NewEvent<'_>) -> Result<i64, HistoryError>;

    /// Adds to an event of which only deliveries told what its own record tells.
    fn fill_event(&mut self, no: i64, event: &NewEvent<'_>) -> Result<(), HistoryError>;

    fn delivery(&mut self, key: &DeliveryKey) -> Result<Option<DeliveryRow>, HistoryError>;

    /// False when it is there already, and nothing was changed.
    fn insert_attempt(&mut self, attempt: NewAttempt<'_>) -> Result<bool, HistoryError>;
}

/// What is counted: hour, tenant, endpoint and word.
pub(crate) type CountKey = (i64, i64, i64, &'static str);

/// What is left to write once all records are applied.
pub(crate) struct Drafted {
    pub(crate) deliveries: Vec<(DeliveryKey, DeliveryRow)>,
    pub(crate) counts: HashMap<CountKey, (u64, Durations)>,
    pub(crate) bodies: Vec<NewBody>,
    /// Bytes that each tenant has more.
    pub(crate) bytes: HashMap<i64, u64>,
}

/// Applies records to the rows of their day.
pub(crate) fn apply<R: DayRows>(
    rows: &mut R,
    names: &Names,
    records: Vec<Numbered>,
    written: &mut Written,
) -> Result<Drafted, HistoryError> {
    let mut draft = DayDraft::new(rows, names);
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
    Ok(draft.finish())
}

/// One day's part of a batch while it is applied.
struct DayDraft<'a, R> {
    rows: &'a mut R,
    names: &'a Names,
    events: HashMap<(i64, String), KnownEvent>,
    /// The rows, and whether each has changed.
    deliveries: HashMap<DeliveryKey, (DeliveryRow, bool)>,
    counts: HashMap<CountKey, (u64, Durations)>,
    bodies: Vec<NewBody>,
    bytes: HashMap<i64, u64>,
}

impl<'a, R: DayRows> DayDraft<'a, R> {
    fn new(rows: &'a mut R, names: &'a Names) -> Self {
        Self {
            rows,
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
                self.rows.fill_event(no, &new_event(event, tenant, (!is_erased).then_some(key), event_shape))?;
                no
            }
            None => self.rows.insert_event(&new_event(event, tenant, Some(key), event_shape))?,
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
        let bytes = 150 + packed.as_ref().map_or(0, |packed| packed.len() as u64);
        let next_due = match verdict {
            RecordedVerdict::Retry(due) => Some(*due),
            RecordedVerdict::Delivered | RecordedVerdict::Dead(_) => None,
        };
        let is_new = self.rows.insert_attempt(NewAttempt {
            key: &key,
            run_began: delivery.run_began,
            number: *number,
            at: *at,
            next_due,
            deferrals: *deferrals,
            post: packed,
        })?;
        if !is_new {
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
        self.add_bytes(tenant, bytes);
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
        self.rows.event(tenant, id)
    }

    /// The event of a delivery, with what the delivery tells of it where its own record has not come.
    fn event_or_stub(&mut self, tenant: i64, delivery: &RecordedDelivery) -> Result<KnownEvent, HistoryError> {
        let id = delivery.event_id.as_str();
        let event = match self.known_event(tenant, id)? {
            Some(known) => known,
            None => {
                let no = self.rows.insert_event(&NewEvent {
                    tenant,
                    id,
                    event_type: delivery.event_type.as_str(),
                    source: "",
                    accepted_at: delivery.accepted_at,
                    occurred_at: delivery.accepted_at,
                    channel: None,
                    queue: None,
                    ticket: None,
                    protocol: None,
                    contact: None,
                    matched: true,
                    unmatched: None,
                    shape: None,
                    is_whole: false,
                })?;
                self.add_bytes(tenant, 200);
                KnownEvent { no, is_whole: false, is_erased: false }
            }
        };
        self.events.insert((tenant, id.to_owned()), event);
        Ok(event)
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
            let row = match self.rows.delivery(&key)? {
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

    fn finish(self) -> Drafted {
        let changed = self.deliveries.into_iter().filter(|(_, (_, has_changed))| *has_changed);
        Drafted {
            deliveries: changed.map(|(key, (row, _))| (key, row)).collect(),
            counts: self.counts,
            bodies: self.bodies,
            bytes: self.bytes,
        }
    }
}

/// What an event's own record tells; the contact only with the key.
fn new_event<'a>(
    event: &'a EventRecord,
    tenant: i64,
    key: Option<&TenantKey>,
    shape: Option<body::Shape>,
) -> NewEvent<'a> {
    NewEvent {
        tenant,
        id: event.id.as_str(),
        event_type: event.event_type.as_str(),
        source: &event.source,
        accepted_at: event.accepted_at,
        occurred_at: event.occurred_at,
        channel: event.channel_id.as_deref(),
        queue: event.queue_id.as_deref(),
        ticket: event.ticket_id.as_deref(),
        protocol: event.protocol.as_deref(),
        contact: key.and_then(|key| Some(token(key, event.contact.as_deref()?))),
        matched: !event.deliveries.is_empty(),
        unmatched: unmatched(event),
        shape,
        is_whole: true,
    }
}

fn unmatched(event: &EventRecord) -> Option<String> {
    if event.unmatched.is_empty() { None } else { serde_json::to_string(&event.unmatched).ok() }
}
