//! Whatever a batch is made of: the pointers name exactly its invalid events, and it is published whole or not at all.

use proptest::{collection::vec, prelude::*};

use super::fixture::{EVENTS, TestIntake};

/// An event, and the pointer of its mistake within it.
fn event() -> impl Strategy<Value = (&'static str, Option<&'static str>)> {
    prop_oneof![
        Just((r#"{"type":"a.b"}"#, None)),
        Just((r#" {"type":"a.b","events":[1],"n":1.0} "#, None)),
        Just((r#"{"type":"a.b","ticket":{"id":[]}}"#, Some("/ticket/id"))),
        Just((r#"{"type":"a"}"#, Some("/type"))),
        Just(("{}", Some("/type"))),
        Just(("null", Some(""))),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(64) })]

    #[test]
    fn pointers_name_exactly_the_invalid_events(events in vec(event(), 0..12)) {
        let texts: Vec<_> = events.iter().map(|(text, _)| *text).collect();
        let wrong = events.iter().enumerate().filter_map(|(at, (_, wrong))| Some(format!("/events/{at}{}", (*wrong)?)));
        let wrong: Vec<_> = wrong.collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let (answer, published) = runtime.block_on(async {
            let intake = TestIntake::new();
            let answer = intake.post(EVENTS, format!("{{\"events\":[{}]}}", texts.join(","))).await;
            let published = intake.published().await;
            let bodies: Vec<_> = published.iter().map(|incoming| incoming.message.body.clone()).collect();
            (answer, bodies)
        });
        prop_assert_eq!(answer.pointers(), wrong.iter().map(String::as_str).collect::<Vec<_>>());
        let expected: Vec<_> = if wrong.is_empty() { texts.iter().map(|text| text.trim()).collect() } else { vec![] };
        prop_assert_eq!(published, expected);
        prop_assert_eq!(answer.status, if wrong.is_empty() { 202 } else { 422 });
    }
}
