//! Every pair of `tests/fixtures`, both ways, byte for byte; and what the fixtures do not show.

use std::{fs, path::PathBuf};

use serde::Deserialize;

use super::*;
use crate::{
    Acceptance, Envelope, EventFacts, EventId, EventType, Format, FormatOptions, Match, Part, json_text::compact,
};

mod parts;
mod reading;
mod round_trip;

const EVENT: Match = Match { event: true, shot: false };
const SHOT: Match = Match { event: false, shot: true };

#[derive(Deserialize)]
struct Pairs {
    pairs: Vec<Pair>,
    routing_keys: std::collections::BTreeMap<String, String>,
    reference_only: Vec<String>,
}

#[derive(Deserialize)]
struct Pair {
    vendor: String,
    canonical: String,
    renderer: String,
    options: FormatOptions,
    body: usize,
    bodies: usize,
    ingest: bool,
}

impl Pair {
    fn format(&self) -> Format {
        match self.renderer.as_str() {
            "whazing-channel" | "whazing-queue" => Format::Whazing,
            "whaticket" => Format::Whaticket,
            _ => Format::Boticario,
        }
    }

    /// A queue integration gets a transfer as the shot.
    fn wanted(&self, event_type: &EventType) -> Match {
        let is_shot = self.renderer == "whazing-queue" && *event_type == EventType::TICKET_TRANSFERRED;
        if is_shot { SHOT } else { EVENT }
    }
}

fn fixture(path: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures").join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn pairs() -> Pairs {
    serde_json::from_str(&fixture("pairs.json")).unwrap()
}

fn acceptance(id: &str) -> Acceptance {
    Acceptance::new(EventId::try_from(id.to_owned()).unwrap(), 1_760_000_000_000, "acme")
}

fn decode(text: &str) -> Envelope<'_> {
    let id = crate::peek_id(text.as_bytes()).unwrap().map_or("made-here".to_owned(), String::from);
    Envelope::decode(text.as_bytes(), &acceptance(&id)).unwrap_or_else(|refusal| panic!("{refusal}\n{text}"))
}

fn source_context() -> SourceContext<'static> {
    let (now, chance) = (1_760_000_000_000, [7; 10]);
    SourceContext { tenant: "acme", source: "main", channel_id: None, keep_original: true, tokens: &[], now, chance }
}

fn texts(bodies: &[RenderedBody]) -> Vec<&str> {
    bodies.iter().map(|body| std::str::from_utf8(&body.bytes).unwrap()).collect()
}

#[test]
fn every_canonical_fixture_renders_to_its_vendor_fixture_byte_for_byte() {
    for pair in pairs().pairs {
        let text = fixture(&format!("canonical/{}", pair.canonical));
        let envelope = decode(&text);
        let wanted = pair.wanted(&envelope.event.event_type);
        let bodies = render(&envelope, pair.format(), &pair.options, wanted);
        let expected = fixture(&format!("vendor/{}", pair.vendor));
        assert_eq!(bodies.len(), pair.bodies, "{}", pair.vendor);
        assert_eq!(texts(&bodies)[pair.body - 1], compact(&expected), "{}", pair.vendor);
    }
}

#[test]
fn every_vendor_fixture_is_read_and_rendered_back_byte_for_byte() {
    for pair in pairs().pairs.iter().filter(|pair| pair.ingest) {
        let sent = compact(&fixture(&format!("vendor/{}", pair.vendor))).into_owned();
        let dialect = match pair.format() {
            Format::Whazing => Dialect::Whazing,
            Format::Whaticket => Dialect::Whaticket,
            _ => Dialect::Boticario,
        };
        let channel_id = crate::ChannelId::Integer(4);
        let at = SourceContext { channel_id: Some(&channel_id), ..source_context() };
        let read = read(dialect, sent.as_bytes(), &at).unwrap();
        let bodies = render(&decode(&read.envelope), pair.format(), &pair.options, EVENT);
        assert_eq!(texts(&bodies), [sent.as_str()], "{}", pair.vendor);
    }
}

#[test]
fn every_canonical_fixture_has_its_routing_key() {
    for (file, expected) in pairs().routing_keys {
        let text = fixture(&format!("canonical/{file}"));
        let event = decode(&text).event;
        let key = crate::routing_key(event.tenant.id.as_ref().unwrap().text(), &EventFacts::of(&event));
        assert_eq!(key.as_deref(), Some(expected.as_str()), "{file}");
    }
}

/// "Renders with defaults to", the last column of the table in the fixtures' README.
#[test]
fn every_canonical_fixture_renders_to_the_formats_its_table_names_and_no_other() {
    let readme = fixture("README.md");
    let rows = readme.lines().filter(|line| line.starts_with("| `") && line.matches('|').count() == 5);
    let mut seen = 0;
    for row in rows.filter(|row| row.contains(".message.") || row.contains(".ticket.") || row.contains(".webhook.")) {
        let cells: Vec<_> = row.split('|').map(str::trim).collect();
        let text = fixture(&format!("canonical/{}.json", cells[1].trim_matches('`')));
        let envelope = decode(&text);
        let count = |format| render(&envelope, format, &FormatOptions::default(), EVENT).len();
        let whaticket =
            if cells[4].contains("`whaticket` ×2") { 2 } else { usize::from(cells[4].contains("`whaticket`")) };
        assert_eq!(count(Format::Whazing), usize::from(cells[4].contains("whazing-channel")), "{row}");
        assert_eq!(count(Format::Whaticket), whaticket, "{row}");
        assert_eq!(count(Format::Boticario), usize::from(cells[4].contains("boticario")), "{row}");
        seen += 1;
    }
    assert_eq!(seen, pairs().routing_keys.len());
}
