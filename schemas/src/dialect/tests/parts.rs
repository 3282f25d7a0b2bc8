//! Which bodies an event has, and which parts they are.

use super::*;
use crate::MediaBodies;

fn parts(text: &str, format: Format, options: FormatOptions, wanted: Match) -> Vec<Part> {
    render(&decode(text), format, &options, wanted).iter().map(|body| body.part).collect()
}

#[test]
fn a_file_has_two_bodies_unless_one_of_them_is_asked_for() {
    let text = fixture("canonical/whaticket-file.json");
    let with = |media| parts(&text, Format::Whaticket, FormatOptions { media, ..Default::default() }, EVENT);
    assert_eq!(with(MediaBodies::Both), [Part::First, Part::Second]);
    assert_eq!(with(MediaBodies::File), [Part::First]);
    assert_eq!(with(MediaBodies::Start), [Part::First]);
    let plain = fixture("canonical/whaticket-message.json");
    let options = FormatOptions { media: MediaBodies::File, ..Default::default() };
    assert_eq!(parts(&plain, Format::Whaticket, options, EVENT), [Part::First], "a text is no file");
}

#[test]
fn a_file_that_came_in_alone_goes_out_alone() {
    let sent = fixture("vendor/whaticket-file.json");
    let read = read(Dialect::Whaticket, sent.as_bytes(), &source_context()).unwrap();
    let with = |media| parts(&read.envelope, Format::Whaticket, FormatOptions { media, ..Default::default() }, EVENT);
    assert_eq!(with(MediaBodies::Both), [Part::First]);
    assert_eq!(with(MediaBodies::File), [Part::First]);
    assert_eq!(with(MediaBodies::Start), []);
}

#[test]
fn a_transfer_can_be_wanted_as_itself_and_as_the_shot() {
    let text = fixture("canonical/whazing-channel-TransferTicket.json");
    let both = Match { event: true, shot: true };
    let of = |format, wanted| parts(&text, format, FormatOptions::default(), wanted);
    assert_eq!(of(Format::Whazing, both), [Part::First, Part::Shot]);
    assert_eq!(of(Format::Whaticket, both), [Part::Shot], "Whaticket has no transfer");
    assert_eq!(of(Format::Boticario, SHOT), [Part::Shot]);
    for format in [Format::Canonical, Format::Original] {
        assert_eq!(of(format, both), [Part::First], "the transfer itself, once");
        assert_eq!(of(format, SHOT), [Part::First]);
        assert_eq!(of(format, Match::default()), []);
    }
}

#[test]
fn the_shot_of_a_file_has_two_whaticket_bodies() {
    let text = fixture("canonical/whazing-channel-TransferTicket.json")
        .replace("\"media\": null", "\"media\": {\"url\": \"https://a.example/p/x.ogg\"}");
    assert_eq!(parts(&text, Format::Whaticket, FormatOptions::default(), SHOT), [Part::Shot, Part::SecondShot]);
}

#[test]
fn only_a_transfer_has_a_shot() {
    let text = fixture("canonical/whazing-channel-message.json");
    assert_eq!(parts(&text, Format::Whazing, FormatOptions::default(), SHOT), []);
}

#[test]
fn an_event_that_lacks_what_a_format_cannot_do_without_has_no_body_in_it() {
    let table = [
        (r#"{"type":"ticket.closed","channel":{"id":4}}"#, [0, 0, 0]),
        (r#"{"type":"ticket.closed","ticket":{"id":1}}"#, [0, 0, 0]),
        (r#"{"type":"ticket.closed","ticket":{"id":1},"channel":{"id":4}}"#, [1, 0, 0]),
        (r#"{"type":"ticket.closed","ticket":{"id":1},"channel":{"id":4},"contact":{}}"#, [1, 1, 0]),
        (r#"{"type":"message.received","ticket":{"id":1},"channel":{"id":4},"contact":{}}"#, [0, 0, 0]),
        (r#"{"type":"message.received","message":{},"contact":{}}"#, [0, 0, 1]),
        (r#"{"type":"message.sent","message":{},"contact":{}}"#, [0, 0, 0]),
        (r#"{"type":"message.status_changed","message":{},"change":{"kind":"message_status","to":"read"}}"#, [0, 0, 1]),
        (
            r#"{"type":"message.status_changed","message":{},"change":{"kind":"message_status","to":"failed"}}"#,
            [0, 0, 0],
        ),
        (r#"{"type":"message.edited","message":{},"ticket":{"id":1},"channel":{"id":4},"contact":{}}"#, [0, 0, 0]),
        (r#"{"type":"webhook.test"}"#, [1, 0, 0]),
    ];
    for (text, expected) in table {
        let count = |format| parts(text, format, FormatOptions::default(), EVENT).len();
        let found = [Format::Whazing, Format::Whaticket, Format::Boticario].map(count);
        assert_eq!(found, expected, "{text}");
        assert_eq!(count(Format::Canonical), 1);
    }
}

#[test]
fn the_test_button_sends_whazings_body_in_every_format_but_canonical() {
    let text = fixture("canonical/whazing-test.json");
    let envelope = decode(&text);
    let expected = fixture("vendor/whazing-test.json");
    for format in [Format::Whazing, Format::Whaticket, Format::Boticario, Format::Original] {
        assert_eq!(render_test(&envelope, format), compact(&expected).as_bytes());
    }
    assert_eq!(render_test(&envelope, Format::Canonical), envelope.canonical().as_bytes());
}
