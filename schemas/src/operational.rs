//! Events about carteiro itself, in the tenant's own stream, so that any endpoint can subscribe to them. Their ids
//! derive from their content, so that a repeated report is the same event.

use serde_json::{Number, Value, json};

use crate::{
    Acceptance, DeadReason, Delivery, Event, EventFacts, EventId, EventType, Message, OutcomeClass, QuotaName, SPEC,
    Subscription, process_report::FailedAttempt, routing_key, time::rfc3339, wire::MAX_HOPS,
};

const PLATFORM: &str = "carteiro";
/// Interval in which a tenant's quota, or a source with a loop, makes at most one event, in milliseconds.
const HOUR: u64 = 3_600_000;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OperationalEvent {
    pub id: EventId,
    pub event_type: EventType,
    /// Routing key: `<tenant>.-.-.<type>`.
    pub key: String,
    /// The hops that it is published with.
    pub hops: u32,
    pub body: String,
}

impl OperationalEvent {
    /// The body has `"endpoint":{"id","reason"}`. `version` is the endpoint's version once it is disabled.
    pub fn endpoint_disabled(tenant: &str, endpoint_id: &str, version: u64, reason: Option<&str>) -> Self {
        let id = EventId::of_happening(&[tenant, "endpoint.disabled", endpoint_id, &version.to_string()]);
        Self::of(
            tenant,
            id,
            EventType::ENDPOINT_DISABLED,
            None,
            "endpoint",
            &json!({"id": endpoint_id, "reason": reason}),
        )
    }

    /// The body has `"endpoint":{"id","since","outcome","status"}`. `since`, in unix milliseconds, is the time of the first
    /// failure, and of one event.
    pub fn endpoint_failing(tenant: &str, endpoint_id: &str, since: u64, last: &FailedAttempt) -> Self {
        let id = EventId::of_happening(&[tenant, "endpoint.failing", endpoint_id, &since.to_string()]);
        let payload = json!({
            "id": endpoint_id, "since": rfc3339(since), "outcome": last.outcome.as_str(), "status": last.status,
        });
        Self::of(tenant, id, EventType::ENDPOINT_FAILING, Some(since), "endpoint", &payload)
    }

    /// The body has `"endpoint":{"id","since"}`. `since`, in unix milliseconds, is that of the `endpoint.failing` which the
    /// recovery ends.
    pub fn endpoint_recovered(tenant: &str, endpoint_id: &str, since: u64) -> Self {
        let id = EventId::of_happening(&[tenant, "endpoint.recovered", endpoint_id, &since.to_string()]);
        let payload = json!({"id": endpoint_id, "since": rfc3339(since)});
        Self::of(tenant, id, EventType::ENDPOINT_RECOVERED, None, "endpoint", &payload)
    }

    /// The event about a delivery that has ended at a time in unix milliseconds. Another life of the delivery, and another
    /// attempt after a crash, end at another time and are another event.
    pub fn delivery_ended(delivery: &Delivery, end: &DeliveryEnd, at: u64) -> Self {
        let event_type = end.event_type();
        let id =
            EventId::of_happening(&[&delivery.tenant, event_type.as_str(), &delivery.id.to_string(), &at.to_string()]);
        let payload = json!({
            "id": delivery.id, "event_id": delivery.event_id, "event_type": delivery.event_type,
            "endpoint_id": delivery.endpoint_id, "part": delivery.part.as_str(),
            "ticket_id": delivery.ticket_id, "message_id": delivery.message_id,
            "attempt_count": end.attempt_count, "outcome": end.outcome.map(OutcomeClass::as_str), "status": end.status,
            "reason": end.reason.map(DeadReason::as_str), "at": rfc3339(at),
        });
        Self::of(&delivery.tenant, id, event_type, Some(at), "delivery", &payload)
    }

    /// The body has `"quota":{"name","limit"}`. All reports of an hour that have the same limit are one event.
    pub fn quota_reached(tenant: &str, quota: QuotaName, limit: f64, now: u64) -> Self {
        let hour = (now / HOUR).to_string();
        let id = EventId::of_happening(&[tenant, "quota.reached", quota.as_str(), &limit.to_string(), &hour]);
        let payload = json!({"name": quota.as_str(), "limit": number(limit)});
        Self::of(tenant, id, EventType::QUOTA_REACHED, None, "quota", &payload)
    }

    /// The body has `"loop":{"source_id","max_hops"}`; `source_id` is `null` for events that came with a key. All reports
    /// of an hour about the same source are one event. Its hops are the most that an event may have, so that it makes no
    /// loop of its own where an endpoint gets every event.
    pub fn event_loop(tenant: &str, source_id: Option<&str>, now: u64) -> Self {
        let hour = (now / HOUR).to_string();
        let id = EventId::of_happening(&[tenant, "event.loop", source_id.unwrap_or_default(), &hour]);
        let payload = json!({"source_id": source_id, "max_hops": MAX_HOPS});
        Self { hops: MAX_HOPS, ..Self::of(tenant, id, EventType::EVENT_LOOP, None, "loop", &payload) }
    }

    /// The event that the test button sends to endpoints of format `canonical`.
    pub fn webhook_test(tenant: &str, id: EventId, now: u64) -> Self {
        Self::of(tenant, id, EventType::WEBHOOK_TEST, Some(now), "test", &json!({"origin": "webhook-config"}))
    }

    /// True when a subscription would match an event of this type: an operational event has no channel and no queue.
    pub fn is_wanted(event_type: &EventType, subscriptions: &[Subscription]) -> bool {
        let event = Event::new(event_type.clone());
        let facts = EventFacts::of(&event);
        subscriptions.iter().any(|subscription| subscription.enabled && subscription.accepts(&facts).is_ok())
    }

    /// The message that a producer would publish for the event, accepted at a time in unix milliseconds.
    pub fn to_message(&self, tenant: &str, now: u64) -> Message {
        let acceptance = Acceptance { hops: self.hops, ..Acceptance::new(self.id.clone(), now, tenant) };
        acceptance.into_message(self.event_type.to_string(), self.body.clone().into())
    }

    /// An event without a time of its own has that of its acceptance: its repeats have the same bytes.
    fn of(tenant: &str, id: EventId, event_type: EventType, at: Option<u64>, name: &str, payload: &Value) -> Self {
        let body = json!({
            "spec": SPEC, "id": id, "type": event_type, "occurred_at": at.map(rfc3339), "source": {"platform": PLATFORM},
            name: payload,
        });
        // A tenant's id has at most 63 bytes, so the key is never too long.
        let key = routing_key(tenant, &EventFacts::of(&Event::new(event_type.clone()))).unwrap_or_default();
        Self { id, key, hops: 0, body: body.to_string(), event_type }
    }
}

/// How a delivery has ended: with a 2xx, or for a reason.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeliveryEnd {
    pub attempt_count: u32,
    /// None if there was no attempt.
    pub outcome: Option<OutcomeClass>,
    pub status: Option<u16>,
    /// None for a delivery that got its 2xx.
    pub reason: Option<DeadReason>,
}

impl DeliveryEnd {
    pub fn event_type(&self) -> EventType {
        if self.reason.is_some() { EventType::DELIVERY_DEAD } else { EventType::DELIVERY_DELIVERED }
    }
}

/// A JSON number; a whole number has no fraction.
fn number(value: f64) -> Option<Number> {
    let whole = value.fract() == 0.0 && (0.0..1e15).contains(&value);
    if whole { Some(Number::from(value as u64)) } else { Number::from_f64(value) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Envelope, Format, FormatOptions, Match, render};

    const NOW: u64 = 1_790_000_000_000;

    #[test]
    fn reports_within_an_hour_are_the_same_event() {
        let reached = |at| OperationalEvent::quota_reached("acme", QuotaName::DeadLetters, 1_000.0, at);
        let start = NOW / HOUR * HOUR;
        assert_eq!(reached(start), reached(start + HOUR - 1));
        assert_ne!(reached(start), reached(start + HOUR));
        let looping = |source, at| OperationalEvent::event_loop("acme", source, at);
        assert_eq!(looping(Some("main"), start), looping(Some("main"), start + HOUR - 1));
        assert_ne!(looping(Some("main"), start), looping(None, start));
        let disabled = |version| OperationalEvent::endpoint_disabled("acme", "crm", version, None).id;
        assert_eq!(disabled(7), disabled(7));
        assert_ne!(disabled(7), disabled(8), "enabled and disabled again");
    }

    #[test]
    fn opt_in_events_are_wanted_by_their_name_or_entity_and_never_by_the_star() {
        let subscription = |json: Value| serde_json::from_value::<Subscription>(json).unwrap();
        let wants = |pattern: &str| subscription(json!({"id": "s", "endpoint_id": "ops", "event_types": [pattern]}));
        for opt_in in EventType::OPT_IN {
            assert!(opt_in.is_operational() && EventType::KNOWN.contains(&opt_in), "{opt_in}");
            let is_wanted = |pattern: &str| OperationalEvent::is_wanted(&opt_in, &[wants("ticket.*"), wants(pattern)]);
            assert!(is_wanted(opt_in.as_str()) && is_wanted(&format!("{}.*", opt_in.entity())), "{opt_in}");
            assert!(!is_wanted("*") && !is_wanted("endpoint.disabled"), "{opt_in}");
            let mut off = wants(opt_in.as_str());
            off.enabled = false;
            assert!(!OperationalEvent::is_wanted(&opt_in, &[off]), "{opt_in} by one that is switched off");
        }
        for other in EventType::KNOWN.into_iter().filter(|known| !known.is_opt_in()) {
            assert!(OperationalEvent::is_wanted(&other, &[wants("*")]), "{other}");
        }
    }

    #[test]
    fn a_delivery_that_ends_again_is_another_event() {
        let id = EventId::of_happening(&["acme", "m-1"]);
        let owed = Delivery::owed("acme", &id, EventType::MESSAGE_SENT, "crm", crate::Part::First, NOW);
        let delivery = Delivery { message_id: Some("m-1".to_owned()), ..owed };
        let (outcome, reason) = (Some(OutcomeClass::ServerError), Some(DeadReason::Exhausted));
        let dead = DeliveryEnd { attempt_count: 3, outcome, status: Some(503), reason };
        let ended = |end, at| OperationalEvent::delivery_ended(&delivery, &end, at);
        assert_eq!(ended(dead, NOW), ended(dead, NOW));
        assert_ne!(ended(dead, NOW).id, ended(dead, NOW + 1).id, "after a replay");
        let delivered = DeliveryEnd { reason: None, ..dead };
        assert_ne!(ended(dead, NOW).id, ended(delivered, NOW).id);
        let body: Value = serde_json::from_str(&ended(dead, NOW).body).unwrap();
        let told = &body["delivery"];
        assert_eq!((&body["type"], &told["reason"]), (&json!("delivery.dead"), &json!("exhausted")));
        assert_eq!((&told["message_id"], &told["ticket_id"]), (&json!("m-1"), &Value::Null));
    }

    #[test]
    fn operational_events_are_matched_and_rendered_like_any_other() {
        let event = OperationalEvent::endpoint_disabled("acme", "crm", 7, Some("the receiver answered 410 Gone"));
        assert_eq!(event.key, "acme.-.-.endpoint.disabled");
        let acceptance = Acceptance::new(event.id.clone(), NOW, "acme");
        let envelope = Envelope::decode(event.body.as_bytes(), &acceptance).unwrap();
        let facts = EventFacts::of(&envelope.event);
        let wants = |json: Value| serde_json::from_value::<Subscription>(json).unwrap().accepts(&facts).is_ok();
        for types in ["endpoint.disabled", "endpoint.*", "*"] {
            assert!(wants(json!({"id": "s", "endpoint_id": "ops", "event_types": [types]})), "{types}");
        }
        assert!(!wants(json!({"id": "s", "endpoint_id": "ops", "event_types": ["*"], "channel_ids": [7]})));
        let wanted = Match { event: true, shot: false };
        let bodies = |format| render(&envelope, format, &FormatOptions::default(), wanted);
        let body: Value = serde_json::from_slice(&bodies(Format::Canonical)[0].bytes).unwrap();
        assert_eq!(body["endpoint"], json!({"id": "crm", "reason": "the receiver answered 410 Gone"}));
        assert_eq!(body["source"]["platform"], "carteiro");
        assert!(bodies(Format::Whazing).is_empty(), "a vendor has no such event");
        let reached = OperationalEvent::quota_reached("acme", QuotaName::EventsPerSecond, 2.0, NOW);
        assert!(reached.body.ends_with(r#""quota":{"name":"events_per_second","limit":2}}"#), "{}", reached.body);
        let looping = OperationalEvent::event_loop("acme", None, NOW);
        assert!(looping.body.ends_with(r#""loop":{"source_id":null,"max_hops":3}}"#), "{}", looping.body);
    }
}
