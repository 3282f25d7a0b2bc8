//! Requests that the intake refuses: each has its problem code, nothing of it is published, and the next valid event is
//! delivered.

use std::collections::BTreeSet;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::harness::{Process, Receiver, Recorder, Site, ids};

/// The keys are `foo`, which may publish, `baz`, which may read, and `bar` of the other tenant.
const CONF: &str = "tenants:
  - id: acme
    endpoints:
      - {id: crm, url: \"{url}\"}
    subscriptions:
      - {id: all, endpoint_id: crm, event_types: [\"*\"]}
    sources:
      - {id: main, dialect: whazing, token: a-source-token, n8n_api_key: an-n8n-key}
    keys:
      - {id: backend, scopes: [publish], hash: \"sha256:2c26b46b68ffc68ff99b453c1d30413413422d706483bfa0f98a5e886266e7ae\"}
      - {id: reader, scopes: [read], hash: \"sha256:baa5a0964d3320fbc0c6a922140453c8513ea24ab8fd0577034804a967248096\"}
  - id: other
    keys:
      - {id: backend, scopes: [publish], hash: \"sha256:fcde2b2edba56bf408601fb721fe9b5c338d10ee429ea04fae5511b68fbf8fb9\"}
";
const EVENTS: &str = "/v1/tenants/acme/events";
const GOOD: &str = r#"{"type":"ticket.created"}"#;

struct Fixture {
    receiver: Receiver,
    site: Site,
    standalone: Process,
}

impl Fixture {
    async fn start() -> Self {
        let receiver = Receiver::accepting().await;
        let site = Site::embedded(&CONF.replace("{url}", &receiver.url("/crm")));
        let standalone = site.start("standalone").await;
        Self { receiver, site, standalone }
    }

    /// A JSON request with the operator's key.
    fn post(&self, path: &str, body: impl Into<String>) -> RequestBuilder {
        let request = self.standalone.api().request(Method::POST, path);
        request.header("content-type", "application/json").body(body.into())
    }

    /// A JSON request with `key`.
    fn post_as(&self, key: &str, body: &str) -> RequestBuilder {
        let request = self.standalone.api().anonymous(Method::POST, EVENTS).bearer_auth(key);
        request.header("content-type", "application/json").body(body.to_owned())
    }

    /// Sends a request that must be accepted. Returns the answer.
    async fn accepted(&self, request: RequestBuilder) -> Value {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), 202);
        serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON")
    }

    /// Sends a request that must be refused. Returns the pointers of the errors.
    async fn refused(&self, request: RequestBuilder, status: u16, code: &str) -> Vec<String> {
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), status);
        assert_eq!(answer.headers()["content-type"], "application/problem+json");
        assert_eq!(answer.headers().contains_key("www-authenticate"), status == 401);
        let problem: Value = serde_json::from_str(&answer.text().await.expect("a body")).expect("JSON");
        assert_eq!((&problem["code"], &problem["status"]), (&Value::from(code), &Value::from(status)), "{problem}");
        assert_eq!(problem["type"], format!("urn:carteiro:problem:{code}"));
        assert!(problem["title"].is_string(), "{problem}");
        let errors = problem["errors"].as_array().cloned().unwrap_or_default();
        errors.iter().map(|error| error["pointer"].as_str().expect("a pointer").to_owned()).collect()
    }

    /// A valid event is delivered as the only one ever, and nothing is parked.
    async fn goes_on(self, name: &str) {
        let accepted = self.standalone.api().publish("acme", ids(name, 1)).await;
        self.receiver.until("the good event arrives", |recorder| recorder.has_all("/crm", &accepted)).await;
        assert_eq!(self.receiver.look(|recorder| recorder.requests("/crm").len()), 1);
        let parked = self.site.look(&["parked", "list", "--output", "json"]).await;
        assert_eq!((parked.status.code(), parked.stdout.as_slice()), (Some(0), &b""[..]));
    }
}

#[tokio::test]
async fn a_body_that_is_not_json_is_refused_as_malformed() {
    let fixture = Fixture::start().await;
    for body in [r#"{"type":"ticket.created""#, "", "nothing"] {
        fixture.refused(fixture.post(EVENTS, body), 422, "malformed_json").await;
    }
    fixture.goes_on("malformed").await;
}

#[tokio::test]
async fn an_event_type_of_another_form_is_refused_with_a_pointer_to_it() {
    let fixture = Fixture::start().await;
    for body in [r#"{"type":"ticket"}"#, r#"{"type":"Ticket.created"}"#, r#"{"type":"a.b.c"}"#, r#"{"type":7}"#] {
        assert_eq!(fixture.refused(fixture.post(EVENTS, body), 422, "invalid_event").await, ["/type"], "{body}");
    }
    assert_eq!(fixture.refused(fixture.post(EVENTS, "{}"), 422, "invalid_event").await, ["/type"]);
    // A message's type is a short string, of 255 bytes at most.
    let long = format!(r#"{{"type":"a.{}"}}"#, "b".repeat(254));
    assert_eq!(fixture.refused(fixture.post(EVENTS, long), 422, "invalid_event").await, ["/type"]);
    fixture.goes_on("type").await;
}

#[tokio::test]
async fn one_invalid_event_refuses_its_whole_batch() {
    let fixture = Fixture::start().await;
    let batch =
        r#"{"events":[{"type":"ticket.created"},{"type":"ticket"},{"type":"ticket.created","ticket":{"id":[]}}]}"#;
    let pointers = fixture.refused(fixture.post(EVENTS, batch), 422, "invalid_event").await;
    assert_eq!(pointers, ["/events/1/type", "/events/2/ticket/id"]);
    fixture.goes_on("batch").await;
}

#[tokio::test]
async fn a_request_without_a_key_or_with_a_wrong_one_is_unauthorized() {
    let fixture = Fixture::start().await;
    let anonymous = fixture.standalone.api().anonymous(Method::POST, EVENTS).body(GOOD);
    fixture.refused(anonymous, 401, "unauthorized").await;
    fixture.refused(fixture.post_as("wrong", GOOD), 401, "unauthorized").await;
    fixture.goes_on("key").await;
}

#[tokio::test]
async fn a_key_allows_what_its_scope_says_to_its_own_tenant() {
    let fixture = Fixture::start().await;
    fixture.refused(fixture.post_as("baz", GOOD), 403, "forbidden").await;
    fixture.refused(fixture.post_as("bar", GOOD), 404, "not_found").await;
    let allowed =
        fixture.post_as("foo", r#"{"id":"scope-00000","type":"ticket.created"}"#).send().await.expect("an answer");
    assert_eq!(allowed.status(), 202);
    fixture.receiver.until("it arrives", |recorder| recorder.delivered("/crm") == 1).await;
}

#[tokio::test]
async fn an_unknown_tenant_is_not_found() {
    let fixture = Fixture::start().await;
    fixture.refused(fixture.post("/v1/tenants/nobody/events", GOOD), 404, "not_found").await;
    fixture.goes_on("tenant").await;
}

#[tokio::test]
async fn an_event_and_a_body_over_their_limits_are_too_large() {
    let fixture = Fixture::start().await;
    let of = |bytes| format!(r#"{{"type":"ticket.created","text":"{}"}}"#, "x".repeat(bytes));
    assert_eq!(fixture.refused(fixture.post(EVENTS, of(1 << 20)), 413, "payload_too_large").await, [""]);
    // A body may hold a batch of events.
    assert_eq!(fixture.refused(fixture.post(EVENTS, of(8 << 20)), 413, "payload_too_large").await, [""; 0]);
    fixture.goes_on("large").await;
}

#[tokio::test]
async fn a_body_that_is_not_declared_as_json_is_of_an_unsupported_type() {
    let fixture = Fixture::start().await;
    for kind in ["text/plain", "application/x-www-form-urlencoded", "application/json; charset=latin1"] {
        let request = fixture.standalone.api().request(Method::POST, EVENTS).header("content-type", kind).body(GOOD);
        fixture.refused(request, 415, "unsupported_media_type").await;
    }
    fixture.goes_on("kind").await;
}

#[tokio::test]
async fn a_vendors_sender_needs_the_sources_token_and_its_key() {
    let fixture = Fixture::start().await;
    fixture.refused(fixture.post("/v1/in/another-token", "{}"), 404, "not_found").await;
    fixture.refused(fixture.post("/v1/in/a-source-token", "{}"), 401, "unauthorized").await;
    let wrong = fixture.post("/v1/in/a-source-token", "{}").header("x-n8n-api-key", "wrong");
    fixture.refused(wrong, 401, "unauthorized").await;
    fixture.goes_on("source").await;
}

#[tokio::test]
async fn another_event_under_an_accepted_id_is_refused_and_the_same_one_is_answered_as_repeated() {
    let fixture = Fixture::start().await;
    let event = |id: &str, kind: &str| format!(r#"{{"id":"{id}","type":"{kind}"}}"#);
    let batch = |events: &[String]| fixture.post(EVENTS, format!(r#"{{"events":[{}]}}"#, events.join(",")));
    let first = event("e-1", "ticket.created");
    let answer = fixture.accepted(fixture.post(EVENTS, first.clone())).await;
    assert_eq!(answer, json!({"accepted": [{"id": "e-1"}]}));

    let another = event("e-1", "ticket.closed");
    let pointers = fixture.refused(fixture.post(EVENTS, another.clone()), 409, "event_id_taken").await;
    assert_eq!(pointers, ["/id"]);
    let refused = [event("e-2", "ticket.created"), another, event("e-3", "ticket.created")];
    assert_eq!(fixture.refused(batch(&refused), 409, "event_id_taken").await, ["/events/1/id"]);
    let twins = [event("e-2", "ticket.created"), event("e-2", "ticket.closed")];
    assert_eq!(fixture.refused(batch(&twins), 409, "event_id_taken").await, ["/events/1/id"]);

    let answer = fixture.accepted(batch(&[event("e-2", "ticket.closed"), first])).await;
    assert_eq!(answer, json!({"accepted": [{"id": "e-2"}, {"id": "e-1", "repeated": true}]}));
    let delivered = |recorder: &Recorder| recorder.delivered("/crm") == 2;
    fixture.receiver.until("both are delivered", delivered).await;
    let types: BTreeSet<String> = fixture.receiver.look(|recorder| {
        let bodies =
            recorder.requests("/crm").into_iter().map(|request| serde_json::from_slice::<Value>(&request.body));
        bodies.map(|body| body.expect("JSON")["type"].as_str().expect("a type").to_owned()).collect()
    });
    assert_eq!(types, BTreeSet::from(["ticket.created", "ticket.closed"].map(str::to_owned)));
}

#[tokio::test]
async fn a_vendors_body_that_tells_no_time_is_answered_as_repeated_when_it_comes_again() {
    let fixture = Fixture::start().await;
    let send = || {
        let request = fixture.post("/v1/in/a-source-token", r#"{"messageId":"A","ticket":{"id":1}}"#);
        request.header("x-n8n-api-key", "an-n8n-key")
    };
    let first = fixture.accepted(send()).await;
    assert_eq!(first["repeated"], Value::Null);
    fixture.receiver.until("it is delivered", |recorder| recorder.delivered("/crm") == 1).await;
    let again = fixture.accepted(send()).await;
    assert_eq!(again, json!({"id": first["id"], "repeated": true}));
    let id = first["id"].as_str().expect("an id");
    let another = fixture.post(EVENTS, format!(r#"{{"id":"{id}","type":"ticket.created"}}"#));
    assert_eq!(fixture.refused(another, 409, "event_id_taken").await, ["/id"]);
}
