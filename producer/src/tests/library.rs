//! The producer as a library.

use broker::PublishError;
use bytes::Bytes;
use schemas::Strictness;

use super::fixture::TestIntake;
use crate::{EventOrigin, NotAccepted};

#[tokio::test]
async fn an_id_is_returned_once_the_event_is_confirmed() {
    let intake = TestIntake::new();
    let event = Bytes::from_static(br#"{"type":"a.b","id":"E-1"}"#);
    for repeated in [false, true] {
        let accepted =
            intake.producer.publish("acme", event.clone(), &EventOrigin::default(), Strictness::Lenient).await.unwrap();
        assert_eq!((accepted.id.as_str(), accepted.repeated), ("E-1", repeated));
    }
    intake.broker.lose_confirm(1);
    let event = Bytes::from_static(br#"{"type":"a.b","id":"E-2"}"#);
    let error = intake.producer.publish("acme", event, &EventOrigin::default(), Strictness::Lenient).await.unwrap_err();
    let NotAccepted::Unconfirmed { confirmed: 0, of: 1, error: PublishError::Lost(_) } = error else {
        panic!("{error}")
    };
    assert_eq!(intake.published().await.len(), 2, "it may be there all the same");
}

#[tokio::test]
async fn an_event_with_the_id_of_another_is_refused_with_its_place() {
    let intake = TestIntake::new();
    let event = |kind: &str| Bytes::from(format!(r#"{{"type":"{kind}","id":"E-1"}}"#));
    intake.producer.publish("acme", event("a.b"), &EventOrigin::default(), Strictness::Lenient).await.unwrap();
    let error =
        intake.producer.publish("acme", event("a.c"), &EventOrigin::default(), Strictness::Lenient).await.unwrap_err();
    let NotAccepted::IdTaken { pointers, of: 1 } = &error else { panic!("{error}") };
    assert_eq!(pointers[..], ["/id"]);
    assert_eq!(error.to_string(), "1 of 1 events have the id of another event, which was accepted or is about to be");
    assert_eq!(intake.published().await.len(), 1);
}

#[tokio::test]
async fn an_invalid_event_is_refused_with_its_place() {
    let intake = TestIntake::new();
    let error = intake
        .producer
        .publish("acme", Bytes::from_static(b"{\"type\":5}"), &EventOrigin::default(), Strictness::Lenient)
        .await
        .unwrap_err();
    let NotAccepted::Invalid { refusals, of: 1 } = error else { panic!("{error}") };
    assert_eq!(refusals[0].pointer, "/type");
}
