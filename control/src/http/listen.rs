//! Deliveries as they would be POSTed, as server-sent events: what a developer's laptop gets that no endpoint can reach.
//!
//! A listener reads what history records, and nothing is stored for it: it ends with its connection.

use std::{
    collections::{HashMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    time::Duration,
};

use axum::{
    http::HeaderValue,
    response::{
        IntoResponse as _, Response, Sse,
        sse::{Event, KeepAlive},
    },
};
use futures_util::stream;
use history::{EventItem, Filter, History, HistoryError, MAX_PAGE, PageRequest};
use schemars::json_schema;
use schemas::{
    Acceptance, Delivery, Envelope, EventFacts, EventId, Format, FormatOptions, Scope, Subscription, render,
    signature::{SIGNATURE_HEADER, Signature, Signed, SigningKey},
};
use serde_json::{Value, json};
use service::{
    openapi::{ApiRouter, get_with},
    problem::{Code, Problem},
};
use tokio::time::sleep;

use super::{context::RequestContext, describe, history::history_of};
use crate::{Control, history::scope_of, tenant_semaphore::TenantPermit};

/// Interval at which a listener looks for new events.
const POLL: Duration = Duration::from_millis(500);
/// Interval of the comments that keep proxies from closing an idle connection.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// Longest time from an event's acceptance until it is recorded, in milliseconds. A listener misses what takes longer.
const LATEST_RECORD_MS: u64 = 10_000;
/// Most events that wait for a client. Older ones are lost to it.
const MAX_PENDING: usize = 1_000;
/// Most pages that are read to count what is lost.
const MAX_PAGES: usize = 10;
/// The id of the subscription and the endpoint that a client stands for.
const LISTEN: &str = "listen";
/// Header of a request with the secret to sign with.
const SECRET_HEADER: &str = "carteiro-listen-secret";
const PARAMETERS: [&str; 4] = ["event_type", "channel_id", "queue_id", "format"];

pub(super) fn routes() -> ApiRouter<Arc<Control>> {
    ApiRouter::new().api_route(
        "/v1/tenants/{tenant}/listen",
        get_with(listen, |op| {
            let summary = "Listen to deliveries as they would be POSTed";
            let op = describe::operation(op, "history", "listen", summary, Some(Scope::Manage));
            let op = describe::more(
                describe::streams(describe::refuses(op, &[Code::HistoryOff, Code::TooManyRequests])),
                "Server-sent events (`text/event-stream`), until the client goes: first `ready` with the `secret` of the \
                 signatures, which the header `carteiro-listen-secret` of the request may give; then a `delivery` for each, \
                 with `headers` and `body`; `lost` with the number of `events` for which a client was too slow; at last \
                 `end` with a `reason`. Nothing is kept for a listener, and no endpoint gets less.",
            );
            let text = || json_schema!({"type": "string"});
            let about = "Types, `entity.*` or `*`, separated by commas. Left out: any.";
            let op = describe::parameter(op, "event_type", about, text());
            let op = describe::parameter(op, "channel_id", "Channels, separated by commas. Left out: any.", text());
            let about = "Queues, separated by commas; `-` means \"in no queue\". Left out: any.";
            let op = describe::parameter(op, "queue_id", about, text());
            describe::parameter(op, "format", "Format of the bodies, as of an endpoint. Left out: `canonical`.", text())
        }),
    )
}

async fn listen(request: RequestContext) -> Result<Response, Problem> {
    let authorized = request.tenant(Scope::Manage).await?;
    let tenant = authorized.tenant.clone().ok_or(Code::NotFound)?;
    let wanted = Wanted::read(&request.query(&PARAMETERS)?)?;
    let control = request.control.clone();
    let history = history_of(&control)?.clone();
    let secret = secret(&request)?;
    let key = SigningKey::parse(&secret).map_err(|_| wrong(SECRET_HEADER, "expected a secret whsec_… or whsk_…"))?;
    let too_many = || Problem::new(Code::TooManyRequests).detail("too many clients listen already");
    let permit = control.listeners.try_acquire(&tenant.id).ok_or_else(too_many)?;
    let now = (control.deps.clock)();
    let listener = Listener {
        scope: scope_of(&tenant),
        tenant: tenant.id.clone(),
        request,
        history,
        wanted,
        key,
        began: now,
        looked_at: now,
        seen: HashMap::new(),
        pending: VecDeque::new(),
        ready: VecDeque::from([event("ready", &json!({"secret": secret}))]),
        has_ended: false,
        _permit: permit,
    };
    let events = stream::unfold(listener, |mut listener| async move {
        let event = listener.next().await?;
        Some((Ok::<_, Infallible>(event), listener))
    });
    let mut response = Sse::new(events).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response();
    // nginx would hold events back until its buffer is full.
    response.headers_mut().insert("x-accel-buffering", HeaderValue::from_static("no"));
    Ok(response)
}

/// The secret that the request gives, or a new one.
fn secret(request: &RequestContext) -> Result<String, Problem> {
    match request.headers().get(SECRET_HEADER) {
        Some(given) => Ok(given.to_str().map_err(|_| wrong(SECRET_HEADER, "expected text"))?.to_owned()),
        None => {
            let unavailable = |_| Problem::new(Code::Unavailable).detail("this machine has no random numbers");
            Ok(SigningKey::write(Signature::V1, (request.control.deps.secrets)().map_err(unavailable)?))
        }
    }
}

fn wrong(name: &str, why: &str) -> Problem {
    Problem::new(Code::InvalidParameter).detail(format!("{name}: {why}"))
}

fn event(name: &str, data: &Value) -> Event {
    Event::default().event(name).data(data.to_string())
}

/// Which events a client wants, and in which format.
struct Wanted {
    subscription: Subscription,
    format: Format,
}

impl Wanted {
    fn read(query: &[(String, String)]) -> Result<Self, Problem> {
        let mut subscription = json!({"id": LISTEN, "endpoint_id": LISTEN, "event_types": ["*"]});
        let mut format = json!("canonical");
        for (name, text) in query {
            let list: Vec<_> = text.split(',').collect();
            match name.as_str() {
                "format" => format = json!(text),
                name => subscription[format!("{name}s")] = json!(list),
            }
        }
        let parsed = serde_json::from_value(subscription);
        let subscription = parsed.map_err(|error| wrong("filter", &error.to_string()))?;
        let format = serde_json::from_value(format).map_err(|error| wrong("format", &error.to_string()))?;
        Ok(Self { subscription, format })
    }

    /// The deliveries of an event, each with its body.
    fn deliveries(&self, tenant: &str, item: &EventItem, body: &[u8]) -> Vec<(Delivery, Vec<u8>)> {
        let Ok(id) = EventId::try_from(item.id.clone()) else { return Vec::new() };
        let acceptance = Acceptance::new(id.clone(), item.accepted_at, tenant);
        let Ok(envelope) = Envelope::decode(body, &acceptance) else { return Vec::new() };
        let Ok(matched) = self.subscription.accepts(&EventFacts::of(&envelope.event)) else { return Vec::new() };
        let rendered = render(&envelope, self.format, &FormatOptions::default(), matched);
        let delivery = |part| Delivery {
            event_time: envelope.occurred_at_ms,
            ..Delivery::owed(tenant, &id, envelope.event.event_type.clone(), LISTEN, part, item.accepted_at)
        };
        rendered.into_iter().map(|body| (delivery(body.part), body.bytes)).collect()
    }
}

/// The subscription of one client. It lives in the response's body, and is dropped with it.
struct Listener {
    /// The request, whose key is looked up again for each event.
    request: RequestContext,
    history: Arc<dyn History>,
    scope: String,
    tenant: String,
    wanted: Wanted,
    key: SigningKey,
    /// Unix milliseconds, as the next.
    began: u64,
    looked_at: u64,
    /// Acceptance of the events that were seen, by id, as long as they may be listed again.
    seen: HashMap<String, u64>,
    /// Events whose bodies are still to be read, oldest first.
    pending: VecDeque<EventItem>,
    ready: VecDeque<Event>,
    has_ended: bool,
    _permit: TenantPermit,
}

impl Listener {
    async fn next(&mut self) -> Option<Event> {
        let stop = self.request.control.deps.stop.clone();
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Some(event);
            }
            if self.has_ended {
                return None;
            }
            if stop.is_cancelled() {
                self.end("the process stops");
            } else if !self.is_allowed().await {
                self.end("the key or the tenant is gone");
            } else if let Some(item) = self.pending.pop_front() {
                self.render(&item).await;
            } else {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = sleep(POLL) => self.look().await,
                }
            }
        }
    }

    fn end(&mut self, reason: &str) {
        self.has_ended = true;
        self.ready.push_back(event("end", &json!({"reason": reason})));
    }

    async fn is_allowed(&self) -> bool {
        match self.request.tenant(Scope::Manage).await {
            Ok(authorized) => authorized.tenant.is_some_and(|tenant| scope_of(&tenant) == self.scope),
            // While the store is away, nobody has lost anything.
            Err(problem) => problem.code == Code::Unavailable,
        }
    }

    async fn look(&mut self) {
        match self.unseen().await {
            Ok(unseen) => {
                self.lost(unseen.len().saturating_sub(MAX_PENDING));
                self.pending = unseen.into_iter().take(MAX_PENDING).rev().collect();
            }
            // The time that was not read is read the next time.
            Err(error) => tracing::debug!(%error, "listen.not_read"),
        }
    }

    /// Events that are new since the last look, newest first.
    async fn unseen(&mut self) -> Result<Vec<EventItem>, HistoryError> {
        let now = (self.request.control.deps.clock)();
        let since = self.looked_at.saturating_sub(LATEST_RECORD_MS).max(self.began);
        let filter = Filter { tenant: Some(self.scope.clone()), since: Some(since), ..Filter::default() };
        let mut page = PageRequest { filter, limit: MAX_PAGE, after: None };
        let mut unseen = Vec::new();
        for _ in 0..MAX_PAGES {
            let found = self.history.events(&page).await?;
            unseen.extend(found.items.into_iter().filter(|item| !self.seen.contains_key(&item.id)));
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
        self.looked_at = now;
        self.seen.retain(|_, accepted_at| *accepted_at >= since);
        self.seen.extend(unseen.iter().map(|item| (item.id.clone(), item.accepted_at)));
        Ok(unseen)
    }

    fn lost(&mut self, events: usize) {
        if events > 0 {
            self.ready.push_back(event("lost", &json!({"events": events})));
        }
    }

    async fn render(&mut self, item: &EventItem) {
        let story = self.history.event(&self.scope, &item.id).await;
        let Some(body) = story.ok().flatten().and_then(|story| story.body) else { return self.lost(1) };
        let now = (self.request.control.deps.clock)();
        for (delivery, body) in self.wanted.deliveries(&self.tenant, item, &body) {
            self.ready.push_back(delivery_event(&delivery, &body, &self.key, now));
        }
    }
}

/// A delivery as it would be POSTed at `now`, in unix milliseconds.
fn delivery_event(delivery: &Delivery, body: &[u8], key: &SigningKey, now: u64) -> Event {
    let (id, timestamp) = (delivery.webhook_id(), (now / 1_000).to_string());
    let signature = key.sign(&Signed { id: &id, timestamp: &timestamp, body });
    let own = [("content-type", "application/json".into()), (SIGNATURE_HEADER, signature.into())];
    let headers: serde_json::Map<_, _> = own
        .into_iter()
        .chain(delivery.request_headers(now))
        .map(|(name, text)| (name.to_owned(), Value::String(text.into_owned())))
        .collect();
    let data = json!({"id": delivery.id, "headers": headers, "body": String::from_utf8_lossy(body), "url": null});
    event("delivery", &data).id(&*id)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wanted(query: &[(&str, &str)]) -> Result<Wanted, Problem> {
        let query: Vec<_> = query.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
        Wanted::read(&query)
    }

    fn item() -> EventItem {
        EventItem {
            tenant: "acme@1".into(),
            id: "e1".into(),
            event_type: "ticket.created".into(),
            source: String::new(),
            accepted_at: 1_000,
            occurred_at: 1_000,
            channel_id: None,
            queue_id: None,
            ticket_id: None,
            protocol: None,
            matched: false,
        }
    }

    #[test]
    fn a_listener_gets_what_its_filters_allow() {
        let body = br#"{"type":"ticket.created","channel":{"id":7}}"#;
        let count = |query: &[(&str, &str)]| wanted(query).ok().map(|one| one.deliveries("acme", &item(), body).len());
        assert_eq!(count(&[]), Some(1));
        assert_eq!(count(&[("event_type", "ticket.*"), ("channel_id", "4,7")]), Some(1));
        assert_eq!(count(&[("event_type", "message.*")]), Some(0));
        assert_eq!(count(&[("channel_id", "4")]), Some(0));
        assert_eq!(count(&[("format", "no such")]), None);
    }
}
