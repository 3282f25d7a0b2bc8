//! The producer as a library.

use broker::PublishError;
use bytes::Bytes;
use schemas::TraceContext;

use super::fixture::TestIntake;
use crate::NotAccepted;

#[tokio::test]
async fn an_id_is_returned_once_the_event_is_confirmed() {
    let intake = TestIntake::new();
    let event = Bytes::from_static(br#"{"type":"a.b","id":"E-1"}"#);
    let id = intake.producer.publish("acme", event, &TraceContext::default()).await.unwrap();
    assert_eq!(id.as_str(), "E-1");
    intake.broker.lose_confirm(1);
    let event = Bytes::from_static(br#"{"type":"a.b","id":"E-2"}"#);
    let error = intake.producer.publish("acme", event, &TraceContext::default()).await.unwrap_err();
    let NotAccepted::Unconfirmed { confirmed: 0, of: 1, error: PublishError::Lost(_) } = error else {
        panic!("{error}")
    };
    assert_eq!(intake.published().await.len(), 2, "it may be there all the same");
}

#[tokio::test]
async fn an_invalid_event_is_refused_with_its_place() {
    let intake = TestIntake::new();
    let error = intake
        .producer
        .publish("acme", Bytes::from_static(b"{\"type\":5}"), &TraceContext::default())
        .await
        .unwrap_err();
    let NotAccepted::Invalid { refusals, of: 1 } = error else { panic!("{error}") };
    assert_eq!(refusals[0].pointer, "/type");
}
