//! What a batch changes on one day: which records are new, and what they do to events, deliveries, bodies and counts.
//!
//! All records of one delivery are applied to its row in memory, and the row is written once.

use std::collections::HashMap;

use crate::{
    AttemptRecord, ContactToken, EventRecord, HistoryError, OwedDelivery, Record, RecordedDelivery, RecordedVerdict,
    RunRecord, TenantKey, Written, body,
    durations::Durations,
    row::{AttemptRow, DeliveryKey, DeliveryRow, blank, pack_post, signed},
    share::Keeps,
    stats::{DEAD, EVENTS, HOUR_MS, NO_ENDPOINT},
    token,
};

/// A record whose tenant has a number.
pub(crate) struct NumberedRecord {
    pub(crate) record: Record,
    pub(crate) tenant: i64,
    pub(crate) key: TenantKey,
    pub(crate) keeps: Keeps,
}

/// What is written already of a day, and where events and attempts go.
pub(crate) trait DayRows {
    /// The number of an endpoint.
    fn endpoint(&self, tenant: i64, id: &str) -> Result<i64, HistoryError>;
    fn find_event(&mut self, tenant: i64, id: &str) -> Result<Option<KnownEvent>, HistoryError>;
    fn find_delivery(&mut self, key: &DeliveryKey) -> Result<Option<DeliveryRow>, HistoryError>;

    /// Inserts an event, and returns its number.
    fn insert_event(&mut self, event: NewEvent) -> Result<i64, HistoryError>;

    /// Adds to an event of which only deliveries told what its own record tells.
    fn fill_event(&mut self, no: i64, event: NewEvent) -> Result<(), HistoryError>;

    /// Inserts an attempt. False when it is there already.
    fn insert_attempt(&mut self, key: &DeliveryKey, attempt: AttemptRow) -> Result<bool, HistoryError>;
}

/// An event that is written already.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KnownEvent {
    pub(crate) no: i64,
    /// False while only deliveries told of it.
    pub(crate) is_whole: bool,
    pub(crate) is_erased: bool,
}

/// Times are in unix milliseconds.
pub(crate) struct NewEvent {
    pub(crate) tenant: i64,
    pub(crate) id: String,
    pub(crate) event_type: String,
    pub(crate) source: String,
    pub(crate) accepted_at: i64,
    pub(crate) occurred_at: i64,
    pub(crate) channel: Option<String>,
    pub(crate) queue: Option<String>,
    pub(crate) ticket: Option<String>,
    pub(crate) protocol: Option<String>,
    pub(crate) contact: Option<ContactToken>,
    pub(crate) matched: bool,
    /// JSON.
    pub(crate) unmatched: Option<String>,
    pub(crate) shape: Option<body::Shape>,
    pub(crate) is_whole: bool,
}

pub(crate) struct NewBody {
    pub(crate) event: i64,
    pub(crate) tenant: i64,
    pub(crate) event_id: String,
    /// Unix milliseconds.
    pub(crate) accepted_at: i64,
    pub(crate) shape: body::Shape,
    pub(crate) packed: Vec<u8>,
}

/// What is counted: hour, tenant, endpoint and word.
pub(crate) type CountKey = (i64, i64, i64, &'static str);
pub(crate) type Counts = HashMap<CountKey, (u64, Durations)>;

/// What remains to be written of a draft.
pub(crate) struct DayChanges {
    /// The rows that have changed.
    pub(crate) deliveries: HashMap<DeliveryKey, DeliveryRow>,
    pub(crate) counts: Counts,
    pub(crate) bodies: Vec<NewBody>,
    /// Bytes that each tenant has more, roughly.
    pub(crate) bytes: HashMap<i64, u64>,
}

/// One day's part of a batch while it is applied.
struct DayDraft<'a, R> {
    rows: &'a mut R,
    events: HashMap<(i64, String), KnownEvent>,
    /// The rows that have changed.
    deliveries: HashMap<DeliveryKey, DeliveryRow>,
    counts: Counts,
    bodies: Vec<NewBody>,
    bytes: HashMap<i64, u64>,
}

/// Applies the records of a day, and adds to `written` what became of them.
pub(crate) fn draft<R: DayRows>(
    rows: &mut R,
    records: Vec<NumberedRecord>,
    written: &mut Written,
) -> Result<DayChanges, HistoryError> {
    let mut draft = DayDraft {
        rows,
        events: HashMap::new(),
        deliveries: HashMap::new(),
        counts: HashMap::new(),
        bodies: Vec::new(),
        bytes: HashMap::new(),
    };
    // Events first: what an attempt tells of its event is less.
    let (events, others): (Vec<_>, Vec<_>) =
        records.into_iter().partition(|numbered| matches!(numbered.record, Record::Event(_)));
    for NumberedRecord { record, tenant, key, keeps } in events.into_iter().chain(others) {
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
    let DayDraft { deliveries, counts, bodies, bytes, .. } = draft;
    Ok(DayChanges { deliveries, counts, bodies, bytes })
}

impl<R: DayRows> DayDraft<'_, R> {
    /// Applies the record of an event. True when it is new.
    fn event(&mut self, event: &EventRecord, tenant: i64, key: &TenantKey, keeps: Keeps) -> Result<bool, HistoryError> {
        let known = self.find_event(tenant, event.id.as_str())?;
        let is_new = known.is_none_or(|known| !known.is_whole);
        let shapes: Vec<_> = event.bodies.iter().map(|body| (!body.is_empty()).then(|| body::shape(body))).collect();
        let event_shape = shapes.first().copied().flatten();
        let no = match known {
            Some(KnownEvent { no, is_whole: true, .. }) => no,
            Some(KnownEvent { no, is_erased, .. }) => {
                self.rows.fill_event(no, whole(tenant, event, (!is_erased).then_some(key), event_shape))?;
                no
            }
            None => self.rows.insert_event(whole(tenant, event, Some(key), event_shape))?,
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
            let endpoint = self.rows.endpoint(tenant, endpoint_id)?;
            let key = DeliveryKey { event: no, endpoint, part: part.clone() };
            let begun = DeliveryRow::new(*id, tenant, event.accepted_at, subscriptions, *run_began);
            let row = self.delivery(&key, begun)?;
            row.begin_run(*run_began);
            row.shape = row.shape.or(shapes.get(*body).copied().flatten());
            if row.subscriptions.is_empty() {
                row.subscriptions = subscriptions.join(",");
            }
            endpoints.push(endpoint);
        }
        if is_new {
            endpoints.sort_unstable();
            endpoints.dedup();
            for endpoint in endpoints {
                self.count(event.accepted_at, tenant, endpoint, EVENTS);
            }
        }
        if keeps == Keeps::Everything && !is_erased {
            for (body, shape) in event.bodies.iter().zip(shapes) {
                let about = (no, tenant, event.accepted_at);
                self.add_body(about, event.id.as_str(), body, shape, is_new);
            }
        }
        Ok(is_new)
    }

    /// Applies the record of an attempt, or of an end without one. True when it is new.
    fn attempt(&mut self, attempt: &AttemptRecord, tenant: i64) -> Result<bool, HistoryError> {
        let AttemptRecord { delivery, number, at, post, verdict, deferrals } = attempt;
        let event = self.event_or_stub(tenant, delivery)?;
        let key = self.key_of(event.no, tenant, delivery)?;
        let mut post = post.clone();
        if event.is_erased
            && let Some(post) = &mut post
        {
            blank(post);
        }
        let packed = post.as_ref().map(pack_post);
        let packed_bytes = packed.as_ref().map_or(0, |packed| packed.len() as u64);
        let next_due = match verdict {
            RecordedVerdict::Retry(due) => Some(signed(*due)),
            RecordedVerdict::Delivered | RecordedVerdict::Dead(_) => None,
        };
        let new = AttemptRow {
            run_began: signed(delivery.run_began),
            number: *number,
            at: signed(*at),
            next_due,
            deferrals: *deferrals,
            post: packed,
        };
        let is_new = self.rows.insert_attempt(&key, new)?;
        if !is_new {
            return Ok(false);
        }
        let row = self.delivery(&key, begun(tenant, delivery))?;
        row.apply(delivery.run_began, *number, post.as_ref().map(|post| post.outcome), *verdict);
        let ended = at + post.as_ref().map_or(0, |post| post.duration_ms);
        if let Some(post) = &post {
            let durations = self.count(ended, tenant, key.endpoint, post.outcome.as_str());
            durations.add(post.duration_ms);
        }
        if let RecordedVerdict::Dead(_) = verdict {
            self.count(ended, tenant, key.endpoint, DEAD);
        }
        self.add_bytes(tenant, 150 + packed_bytes);
        Ok(true)
    }

    /// Applies the record of another life. True when it is new.
    fn run(&mut self, run: RunRecord, tenant: i64, keeps: Keeps) -> Result<bool, HistoryError> {
        let RunRecord { delivery, body } = run;
        let event = self.event_or_stub(tenant, &delivery)?;
        let key = self.key_of(event.no, tenant, &delivery)?;
        let body = body.filter(|body| !body.is_empty() && keeps == Keeps::Everything && !event.is_erased);
        let shape = body.as_deref().map(body::shape);
        let row = self.delivery(&key, begun(tenant, &delivery))?;
        let is_new = row.begin_run(delivery.run_began);
        row.shape = row.shape.or(shape);
        if let Some(body) = &body {
            let about = (event.no, tenant, delivery.accepted_at);
            self.add_body(about, delivery.event_id.as_str(), body, shape, is_new);
        }
        Ok(is_new)
    }

    fn find_event(&mut self, tenant: i64, id: &str) -> Result<Option<KnownEvent>, HistoryError> {
        match self.events.get(&(tenant, id.to_owned())) {
            Some(known) => Ok(Some(*known)),
            None => self.rows.find_event(tenant, id),
        }
    }

    /// The event of a delivery, with what the delivery tells of it where its own record has not come.
    fn event_or_stub(&mut self, tenant: i64, delivery: &RecordedDelivery) -> Result<KnownEvent, HistoryError> {
        let id = delivery.event_id.as_str();
        let event = match self.find_event(tenant, id)? {
            Some(known) => known,
            None => {
                let no = self.rows.insert_event(stub(tenant, delivery))?;
                self.add_bytes(tenant, 200);
                KnownEvent { no, is_whole: false, is_erased: false }
            }
        };
        self.events.insert((tenant, id.to_owned()), event);
        Ok(event)
    }

    fn key_of(&self, event: i64, tenant: i64, delivery: &RecordedDelivery) -> Result<DeliveryKey, HistoryError> {
        let endpoint = self.rows.endpoint(tenant, &delivery.endpoint_id)?;
        Ok(DeliveryKey { event, endpoint, part: delivery.part.clone() })
    }

    /// The row of a delivery, to be changed: the one that is known, or `begun`.
    fn delivery(&mut self, key: &DeliveryKey, begun: DeliveryRow) -> Result<&mut DeliveryRow, HistoryError> {
        if !self.deliveries.contains_key(key) {
            let known = self.rows.find_delivery(key)?;
            if known.is_none() {
                self.add_bytes(begun.tenant, 250);
            }
            self.deliveries.insert(key.clone(), known.unwrap_or_else(|| begun.clone()));
        }
        Ok(self.deliveries.entry(key.clone()).or_insert(begun))
    }

    /// Adds a body of an event: its number, its tenant and its first acceptance.
    fn add_body(
        &mut self,
        (event, tenant, accepted_at): (i64, i64, u64),
        event_id: &str,
        body: &[u8],
        shape: Option<body::Shape>,
        is_new: bool,
    ) {
        let Some(shape) = shape else { return };
        let packed = body::pack(body);
        if is_new {
            self.add_bytes(tenant, 50 + packed.len() as u64);
        }
        let (event_id, accepted_at) = (event_id.to_owned(), signed(accepted_at));
        self.bodies.push(NewBody { event, tenant, event_id, accepted_at, shape, packed });
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
}

fn begun(tenant: i64, delivery: &RecordedDelivery) -> DeliveryRow {
    let RecordedDelivery { id, accepted_at, subscriptions, run_began, .. } = delivery;
    DeliveryRow::new(*id, tenant, *accepted_at, subscriptions, *run_began)
}

/// What the record of an event tells; of the contact only with the key.
fn whole(tenant: i64, event: &EventRecord, key: Option<&TenantKey>, shape: Option<body::Shape>) -> NewEvent {
    NewEvent {
        tenant,
        id: event.id.to_string(),
        event_type: event.event_type.as_str().to_owned(),
        source: event.source.clone(),
        accepted_at: signed(event.accepted_at),
        occurred_at: signed(event.occurred_at),
        channel: event.channel_id.clone(),
        queue: event.queue_id.clone(),
        ticket: event.ticket_id.clone(),
        protocol: event.protocol.clone(),
        contact: key.and_then(|key| Some(token(key, event.contact.as_deref()?))),
        matched: !event.deliveries.is_empty(),
        unmatched: (!event.unmatched.is_empty()).then(|| serde_json::to_string(&event.unmatched).ok()).flatten(),
        shape,
        is_whole: true,
    }
}

/// What a delivery tells of its event.
fn stub(tenant: i64, delivery: &RecordedDelivery) -> NewEvent {
    let at = signed(delivery.accepted_at);
    NewEvent {
        tenant,
        id: delivery.event_id.to_string(),
        event_type: delivery.event_type.as_str().to_owned(),
        source: String::new(),
        accepted_at: at,
        occurred_at: at,
        channel: None,
        queue: None,
        ticket: None,
        protocol: None,
        contact: None,
        matched: true,
        unmatched: None,
        shape: None,
        is_whole: false,
    }
}
