//! What is probably a mistake is accepted with warnings, or refused by a strict request.

use serde_json::{Value, json};

use super::fixture::{Answer, EVENTS, TestIntake, request};

impl TestIntake {
    async fn receive(&self, path: &str, body: &str) -> Answer {
        self.send(request(path), body.to_owned()).await
    }
}

/// Code and pointer of each warning.
fn warnings(answer: &Answer) -> Vec<(&str, &str)> {
    let text = |value: &Value, key: &str| value[key].as_str().unwrap_or_default().len();
    let listed = answer.body["warnings"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert!(listed.iter().all(|warning| text(warning, "message") > 0));
    listed.iter().map(|one| (one["code"].as_str().unwrap(), one["pointer"].as_str().unwrap())).collect()
}

#[tokio::test]
async fn an_event_with_mistakes_is_accepted_with_a_warning_about_each() {
    let intake = TestIntake::new();
    let answer = intake.post(EVENTS, r#"{"type":"mesage.received","id":"E-1","chanel":{"id":4}}"#).await;
    assert_eq!((answer.status, &answer.body["accepted"]), (202, &json!([{"id": "E-1"}])));
    assert_eq!(warnings(&answer), [("unknown_type", "/type"), ("unknown_key", "/chanel")]);
    let batch = r#"{"events":[{"type":"a.b"},{"type":"a.b","ticket":{"status":"opened"}}]}"#;
    assert_eq!(warnings(&intake.post(EVENTS, batch).await), [("unknown_word", "/events/1/ticket/status")]);
    assert_eq!(intake.published().await.len(), 3);
}

#[tokio::test]
async fn an_answer_has_a_hundred_warnings_at_most() {
    let intake = TestIntake::new();
    let events = vec![json!({"type": "mesage.received"}); 150];
    let answer = intake.post(EVENTS, json!({"events": events}).to_string()).await;
    assert_eq!((answer.status, warnings(&answer).len()), (202, 100));
}

#[tokio::test]
async fn a_strict_request_publishes_all_of_a_batch_or_nothing() {
    let intake = TestIntake::new();
    let strict = format!("{EVENTS}?strict=true");
    let batch = r#"{"events":[{"type":"a.b","id":"E-1"},{"type":"mesage.received","id":"E-2"}]}"#;
    let answer = intake.post(&strict, batch).await;
    assert_eq!((answer.code(), answer.pointers()), ((422, "warned"), vec!["/events/1/type"]));
    assert!(intake.nothing_published());
    let answer = intake.post(&strict, r#"{"type":"message.received","id":"E-1"}"#).await;
    assert_eq!(answer.status, 202, "the id is free: {}", answer.body);
    for (path, expected) in
        [("?strict=1", "strict: expected true or false"), ("?strcit=true", "unknown parameter, did you mean strict?")]
    {
        let refused = intake.post(&format!("{EVENTS}{path}"), r#"{"type":"a.b"}"#).await;
        assert_eq!((refused.code(), &refused.body["detail"]), ((400, "invalid_parameter"), &json!(expected)));
    }
}

#[tokio::test]
async fn a_body_of_another_vendor_is_accepted_with_a_warning_and_refused_by_a_strict_request() {
    let intake = TestIntake::new();
    let other = include_str!("../../../tests/fixtures/vendor/boticario-response.json");
    for body in [other, "[]", "\"x\"", r#"{"hello":1}"#] {
        let answer = intake.receive("/v1/in/t-main", body).await;
        assert_eq!((answer.status, warnings(&answer)), (202, vec![("unknown_body", "")]), "{body}");
    }
    assert_eq!(intake.published().await.len(), 4);
    let refused = intake.receive("/v1/in/t-main?vendor=1&strict=true", other).await;
    assert_eq!((refused.code(), refused.pointers()), ((422, "warned"), vec![""]));
    assert!(refused.body["errors"][0]["message"].as_str().unwrap().contains("boticario"), "{}", refused.body);
    let known = intake.receive("/v1/in/t-shop?strict=true", other).await;
    assert_eq!((known.status, &known.body["warnings"]), (202, &Value::Null));
}
