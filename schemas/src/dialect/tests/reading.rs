//! What vendors' bodies become, and what they are known by.

use super::*;
use crate::{Change, ChannelId, RefusalKind};

fn read_as(dialect: Dialect, body: &str) -> VendorEvent {
    read(dialect, body.as_bytes(), &source_context()).unwrap_or_else(|refusal| panic!("{refusal}: {body}"))
}

#[test]
fn bodies_seen_elsewhere_in_the_family_are_accepted_by_every_dialect() {
    for file in pairs().reference_only {
        let body = fixture(&format!("vendor/{file}"));
        for dialect in Dialect::ALL {
            let read = read_as(dialect, &body);
            let is_message = dialect == Dialect::Whaticket && file == "variant-whaticket-legacy-start.json";
            let expected = if is_message { EventType::MESSAGE_RECEIVED } else { EventType::VENDOR_UNKNOWN };
            assert_eq!(read.event.event_type, expected, "{file} as {dialect:?}");
            assert_eq!(decode(&read.envelope).original().unwrap(), body.as_bytes(), "{file}");
        }
    }
}

#[test]
fn an_older_forks_message_keeps_its_ticket_and_contact() {
    let event = read_as(Dialect::Whaticket, &fixture("vendor/variant-whaticket-legacy-start.json")).event;
    assert_eq!(event.ticket.unwrap().id.unwrap().text(), "357");
    assert_eq!(event.contact.unwrap().number.unwrap(), "5511989091838");
    assert_eq!(event.occurred_at.unwrap(), "2023-10-12T14:07:44.618Z");
}

#[test]
fn an_unknown_body_goes_to_original_endpoints_only_and_keeps_its_original_whatever_the_source_says() {
    let at = SourceContext { keep_original: false, ..source_context() };
    for body in ["[1, 2]", "7", "{\"acao\":\"n8n\" }", "{\"Type\":\"Other\",\"ticket\":{}}", "\"\u{e9}\""] {
        for dialect in Dialect::ALL {
            let read = read(dialect, body.as_bytes(), &at).unwrap();
            assert_eq!(read.event.event_type, EventType::VENDOR_UNKNOWN);
            let envelope = decode(&read.envelope);
            let of = |format| render(&envelope, format, &FormatOptions::default(), EVENT);
            assert_eq!(of(Format::Original)[0].bytes, body.as_bytes());
            for format in [Format::Canonical, Format::Whazing, Format::Whaticket, Format::Boticario] {
                assert!(of(format).is_empty(), "{format:?} of {body}");
            }
        }
    }
}

#[test]
fn a_body_nested_too_deep_to_be_read_is_unknown_and_still_decodes() {
    let body =
        format!("{{\"messageId\":\"A\",\"ticket\":{{\"apiConfig\":{}1{}}}}}", "[".repeat(5_000), "]".repeat(5_000));
    let read = read_as(Dialect::Whazing, &body);
    assert_eq!(read.event.event_type, EventType::VENDOR_UNKNOWN);
    assert_eq!(decode(&read.envelope).original().unwrap(), body.as_bytes());
}

#[test]
fn only_what_is_not_json_is_refused() {
    for body in [&b"{\"a\":"[..], b"", b"a=b", b"{} {}", b"\xff", b"\xef\xbb\xbf{}"] {
        for dialect in Dialect::ALL {
            assert_eq!(read(dialect, body, &source_context()).unwrap_err().kind, RefusalKind::Malformed, "{body:?}");
        }
    }
}

#[test]
fn a_body_that_identifies_itself_is_the_same_event_again_and_any_other_is_a_new_one() {
    let table = [
        (Dialect::Whazing, "whazing-channel-message", true),
        (Dialect::Whazing, "whazing-channel-TransferTicket", false),
        (Dialect::Whazing, "whazing-test", true),
        (Dialect::Whaticket, "whaticket-message", true),
        (Dialect::Whaticket, "whaticket-file", true),
        (Dialect::Whaticket, "whaticket-ticket-status", true),
        (Dialect::Whaticket, "whaticket-tags", false),
        (Dialect::Whaticket, "variant-whaticket-legacy-start", false),
        (Dialect::Boticario, "boticario-status-read", true),
        (Dialect::Boticario, "variant-izing-message-status", true),
    ];
    for (dialect, file, is_same) in table {
        let body = fixture(&format!("vendor/{file}.json"));
        let id = |at: SourceContext<'_>| read(dialect, body.as_bytes(), &at).unwrap().id;
        let again = SourceContext { now: 1_760_000_009_000, chance: [9; 10], ..source_context() };
        assert_eq!(id(source_context()) == id(again), is_same, "{file}");
        assert_ne!(id(source_context()), id(SourceContext { source: "other", ..again }), "{file}");
        assert_ne!(id(source_context()), id(SourceContext { tenant: "other", ..again }), "{file}");
    }
}

#[test]
fn the_id_of_a_vendors_body_never_changes() {
    let body = compact(&fixture("vendor/whazing-channel-message.json")).into_owned();
    assert_eq!(read_as(Dialect::Whazing, &body).id.as_str(), "730d55f6-b63f-5b5a-ac22-e4752bde2ede");
}

#[test]
fn the_sources_channel_is_used_where_the_body_names_none() {
    let at_channel = |dialect, file: &str, channel_id: ChannelId| {
        let body = fixture(file);
        read(dialect, body.as_bytes(), &SourceContext { channel_id: Some(&channel_id), ..source_context() }).unwrap()
    };
    let boticario = at_channel(Dialect::Boticario, "vendor/boticario-response.json", ChannelId::Integer(9));
    assert_eq!(boticario.routing_key("acme").unwrap(), "acme.9.-.message.received");
    let tags = at_channel(Dialect::Whaticket, "vendor/whaticket-tags.json", ChannelId::Text("a b".into()));
    assert_eq!(tags.routing_key("acme").unwrap(), "acme.a%20b.-.ticket.tags_changed");
    let whazing = at_channel(Dialect::Whazing, "vendor/whazing-queue-message.json", ChannelId::Integer(9));
    assert_eq!(whazing.routing_key("acme").unwrap(), "acme.4.9.message.received", "the body's own comes first");
}

#[test]
fn a_source_that_keeps_no_original_sends_none() {
    let body = fixture("vendor/whazing-channel-message.json");
    let kept = read_as(Dialect::Whazing, &body);
    assert_eq!(decode(&kept.envelope).original().unwrap(), body.as_bytes());
    let read =
        read(Dialect::Whazing, body.as_bytes(), &SourceContext { keep_original: false, ..source_context() }).unwrap();
    let envelope = decode(&read.envelope);
    assert_eq!(envelope.original(), None);
    assert!(render(&envelope, Format::Original, &FormatOptions::default(), EVENT).is_empty());
    assert!(!envelope.canonical().contains("\"original\""));
}

#[test]
fn the_kind_of_a_body_is_kept_in_source_event() {
    let table = [
        (Dialect::Whazing, "whazing-channel-NewTicket", "NewTicket"),
        (Dialect::Whazing, "whazing-channel-message", "message"),
        (Dialect::Whazing, "whazing-test", "test"),
        (Dialect::Whazing, "whazing-saas-channel-status", "channel.status.changed"),
        (Dialect::Whaticket, "whaticket-message", "start"),
        (Dialect::Whaticket, "whaticket-file", "fila-data"),
        (Dialect::Whaticket, "whaticket-tags", "tag-sync"),
        (Dialect::Whaticket, "variant-whaticket-queue_webhook", "queue_webhook"),
        (Dialect::Boticario, "boticario-response", "response"),
        (Dialect::Boticario, "boticario-status-sent", "status"),
    ];
    for (dialect, file, kind) in table {
        let read = read_as(dialect, &fixture(&format!("vendor/{file}.json")));
        assert_eq!(read.event.source.event.as_deref(), Some(kind), "{file}");
        assert_eq!(read.event.source.platform, dialect.as_str());
    }
}

#[test]
fn the_reader_leaves_the_secrets_of_api_config_out_but_not_out_of_the_original() {
    let body =
        r#"{"messageId":"A","ticket":{"id":1,"apiConfig":{"n":1.0,"Token":"S3CRET","x":[{"authtoken":"S3CRET"}]}}}"#;
    let read = read_as(Dialect::Whazing, body);
    let envelope = decode(&read.envelope);
    assert_eq!(envelope.event.ticket.as_ref().unwrap().api_config.as_ref().unwrap().json(), r#"{"n":1.0,"x":[{}]}"#);
    assert!(!envelope.canonical().contains("S3CRET"));
    assert_eq!(envelope.original().unwrap(), body.as_bytes());
}

#[test]
fn a_body_that_identifies_itself_is_the_same_envelope_whenever_it_comes_and_has_its_time_of_acceptance() {
    let at = |now| SourceContext { now, chance: [now as u8; 10], ..source_context() };
    let mut without_time = 0;
    for pair in pairs().pairs.iter().filter(|pair| pair.ingest) {
        let body = fixture(&format!("vendor/{}", pair.vendor));
        for dialect in Dialect::ALL {
            let [first, again] = [1, 2].map(|now| read(dialect, body.as_bytes(), &at(now)).unwrap());
            assert_eq!(first.id == again.id, first.envelope == again.envelope, "{} as {dialect:?}", pair.vendor);
            without_time += u32::from(first.id == again.id && first.event.occurred_at.is_none());
        }
    }
    assert!(without_time > 0, "some of them tell no time");
    let read = read_as(Dialect::Whazing, r#"{"messageId":"A","ticket":{"id":1}}"#);
    let accepted_at = crate::time::rfc3339(1_760_000_000_000);
    let envelope = decode(&read.envelope);
    assert_eq!(envelope.event.occurred_at.as_deref(), Some(accepted_at.as_str()));
    let canonical: serde_json::Value = serde_json::from_str(&envelope.canonical()).unwrap();
    assert_eq!(canonical["occurred_at"], accepted_at.as_str());
    assert_eq!(envelope.canonical().matches("\"occurred_at\"").count(), 1);
}

#[test]
fn numbers_as_strings_missing_keys_and_other_types_are_survived() {
    let body = r#"{"messageId":12,"timestamp":"1752861300","fromMe":"true","mediaType":["x"],"ticket":{"id":"7","queueId":"12",
        "protocol":20251807},"contact":"nobody","user":false,"whatsapp":[],"edited":1,"new":{"x":1}}"#;
    let read = read_as(Dialect::Whazing, body);
    assert_eq!(read.event.event_type, EventType::MESSAGE_SENT);
    assert_eq!(read.event.occurred_at.as_deref(), Some("2025-07-18T17:55:00.000Z"));
    assert_eq!(read.routing_key("acme").unwrap(), "acme.-.12.message.sent");
    let ticket = read.event.ticket.as_ref().unwrap();
    assert_eq!(ticket.protocol.as_deref(), Some("20251807"));
    assert!(read.event.message.as_ref().unwrap().edited);
    decode(&read.envelope);
}

#[test]
fn a_transfer_says_where_to_but_carries_no_message_for_a_shot() {
    let read = read_as(Dialect::Whazing, &fixture("vendor/whazing-channel-TransferTicket.json"));
    assert!(matches!(&read.event.change, Some(Change::Queue { from: None, to: Some(_), .. })));
    let facts = EventFacts::of(&read.event);
    assert!(facts.to_other_queue && !facts.has_received_message);
}

#[test]
fn the_token_of_the_url_it_came_in_at_is_not_passed_on() {
    let body = fixture("vendor/whaticket-message.json")
        .replace("https://en16nq4b2guar.x.pipedream.net/", "https://hooks.example/v1/in/s3cret-token");
    for tokens in [&["s3cret-token"][..], &["n3w-token", "s3cret-token"]] {
        let at = SourceContext { keep_original: false, tokens, ..source_context() };
        let read = read(Dialect::Whaticket, body.as_bytes(), &at).unwrap();
        assert_eq!(read.event.channel.webhook_url.as_deref(), Some("https://hooks.example/v1/in/***"));
        assert!(!read.envelope.contains("s3cret-token"));
    }
}

#[test]
fn an_event_whose_vendor_names_no_company_is_its_owners() {
    let body = br#"{"Type":"NewTicket","ticket":{"id":1},"whatsapp":{"id":7}}"#;
    let envelope = read(Dialect::Whazing, body, &source_context()).unwrap().envelope;
    let envelope: serde_json::Value = serde_json::from_str(&envelope).unwrap();
    assert_eq!(envelope["tenant"]["id"], "acme");
}
