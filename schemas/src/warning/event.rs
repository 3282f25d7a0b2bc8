//! Warnings about a canonical event: misspelt keys and types, and unknown words.
//!
//! Any type and any key is allowed, and so a warning is given only where hardly anything else can be meant. The walk
//! over the keys compares each with the one that is expected next, because producers write them in wire order.

use std::borrow::Cow;

use super::{Warning, WarningCode};
use crate::{
    Event, EventType, TicketStatus,
    json_text::Scanner,
    pointer::to_member,
    suggest::{misspelt, suggestion},
};

/// Largest number of warnings about an event, and of unknown keys that are compared with the known ones: hostile events
/// have more.
const MOST: usize = 20;
/// Longest key, and longest word, that is compared with the known ones, in bytes.
const LONGEST_WORD: usize = 32;

/// Keys of an event, in wire order.
const EVENT: &[&str] = &[
    "spec",
    "id",
    "type",
    "occurred_at",
    "source",
    "tenant",
    "channel",
    "actor",
    "ticket",
    "contact",
    "participant",
    "message",
    "change",
    "original",
];

const CONTACT: &[&str] = &[
    "id",
    "name",
    "number",
    "email",
    "profile_pic_url",
    "is_group",
    "pushname",
    "lid",
    "kanban_id",
    "followup_id",
    "accept_audio_message",
    "active",
    "disable_bot",
    "extra_info",
    "last_message_at",
];

/// The objects of an event, each with its keys in wire order.
const OBJECTS: &[(&str, &[&str])] = &[
    ("source", &["platform", "base_url", "event"]),
    ("tenant", &["id", "name"]),
    ("channel", &["id", "name", "kind", "address", "webhook_url"]),
    ("actor", &["kind", "user"]),
    (
        "ticket",
        &[
            "id",
            "uuid",
            "status",
            "protocol",
            "external_key",
            "api_config",
            "is_group",
            "unread_messages",
            "last_message",
            "chatbot",
            "queue_option_id",
            "closing_reason_id",
            "queue",
            "assignee",
            "tags",
            "created_at",
            "updated_at",
        ],
    ),
    ("contact", CONTACT),
    ("participant", CONTACT),
    (
        "message",
        &[
            "id",
            "provider_id",
            "conversation_id",
            "context_id",
            "direction",
            "media_type",
            "text",
            "media",
            "status",
            "send_type",
            "is_deleted",
            "edited",
            "reactions",
            "author",
            "sent_at_ms",
            "to",
            "from",
            "created_at",
            "updated_at",
            "raw",
        ],
    ),
    ("change", &["kind", "from", "to", "from_assignee", "to_assignee"]),
];

/// Keys that are often written for another one: the pointer to the object, the key, and the pointer to what is meant.
const MISPLACED: &[(&str, &str, &str)] = &[
    ("", "event_type", "/type"),
    ("", "channel_id", "/channel/id"),
    ("", "ticket_id", "/ticket/id"),
    ("", "queue_id", "/ticket/queue/id"),
    ("", "queue", "/ticket/queue"),
    ("/ticket", "queue_id", "/ticket/queue/id"),
    ("/ticket", "user_id", "/ticket/assignee/id"),
    ("/contact", "phone", "/contact/number"),
    ("/message", "body", "/message/text"),
    ("/message", "type", "/message/media_type"),
];

const ACTORS: &[&str] = &["contact", "user", "bot", "api", "system"];

/// Warnings about an event that was decoded from `text`.
pub(crate) fn of_event(text: &str, event: &Event) -> Vec<Warning> {
    let mut warnings = Vec::new();
    if let Some(meant) = misspelt_type(&event.event_type) {
        let message = format!("no such type is known, did you mean {meant}?");
        warnings.push(Warning::new(WarningCode::UnknownType, "/type", message));
    }
    let status = event.ticket.as_ref().and_then(|ticket| ticket.status.as_deref());
    check_word("/ticket/status", status, &TicketStatus::NAMES, &mut warnings);
    check_word("/actor/kind", event.actor.as_ref().and_then(|actor| actor.kind.as_deref()), ACTORS, &mut warnings);
    check_keys(text, &mut warnings);
    warnings
}

/// The known event type that a type nearly is; none for a known type, and for a type of the producer's own.
pub(super) fn misspelt_type(event_type: &EventType) -> Option<String> {
    if EventType::KNOWN.contains(event_type) {
        return None;
    }
    let known = EventType::KNOWN.iter().filter(|known| {
        is_or_was_meant(event_type.entity(), known.entity()) && is_or_was_meant(event_type.action(), known.action())
    });
    known.map(ToString::to_string).next()
}

fn is_or_was_meant(given: &str, known: &str) -> bool {
    given == known || misspelt(given, [known]).is_some()
}

fn check_word(pointer: &str, given: Option<&str>, known: &[&str], warnings: &mut Vec<Warning>) {
    if let Some(given) = given.filter(|given| !known.contains(given)) {
        // A long text would take long to compare.
        let given = if given.len() > LONGEST_WORD { "" } else { given };
        let message = format!("unknown word, {}", suggestion(given, known));
        warnings.push(Warning::new(WarningCode::UnknownWord, pointer, message));
    }
}

fn check_keys(text: &str, warnings: &mut Vec<Warning>) {
    let mut scanner = Scanner::new(text);
    let (mut keys, mut unknown_keys) = (KnownKeys::new(EVENT), 0);
    while let Some(key) = scanner.element() {
        let known = keys.known(key);
        if known.is_none() {
            check_unknown("", key, EVENT, &mut unknown_keys, warnings);
        }
        let object = OBJECTS.iter().find(|(name, _)| Some(*name) == known);
        match object {
            Some((name, inner)) if scanner.enter_object() => {
                check_members(name, &mut scanner, inner, &mut unknown_keys, warnings);
            }
            _ => _ = scanner.element(),
        }
        if unknown_keys >= MOST {
            return;
        }
    }
}

/// Checks the keys of the object that the scanner has entered, and leaves it. After too many unknown keys, it stops.
fn check_members(
    name: &str,
    scanner: &mut Scanner<'_>,
    known: &'static [&'static str],
    unknown: &mut usize,
    to: &mut Vec<Warning>,
) {
    let mut keys = KnownKeys::new(known);
    while let Some((key, _)) = scanner.member() {
        if keys.known(key).is_none() {
            check_unknown(&to_member(name), key, known, unknown, to);
            if *unknown >= MOST {
                return;
            }
        }
    }
    scanner.leave_object();
}

fn check_unknown(object: &str, spelt: &str, known: &[&str], unknown: &mut usize, warnings: &mut Vec<Warning>) {
    *unknown += 1;
    let key = unquoted(spelt);
    if key.len() > LONGEST_WORD {
        return;
    }
    let misplaced = MISPLACED.iter().find(|(place, name, _)| (*place, *name) == (object, &*key));
    let meant = misplaced.map(|(_, _, meant)| *meant).or_else(|| misspelt(&key, known.iter().copied()));
    if let Some(meant) = meant {
        let message = format!("no such key is read, did you mean {meant}?");
        warnings.push(Warning::new(WarningCode::UnknownKey, object.to_owned() + &to_member(&key), message));
    }
}

/// A key without its quotes, and with its escapes resolved.
fn unquoted(spelt: &str) -> Cow<'_, str> {
    let bare = spelt.get(1..spelt.len().saturating_sub(1)).unwrap_or_default();
    if bare.contains('\\') { serde_json::from_str(spelt).map_or(Cow::Borrowed(bare), Cow::Owned) } else { bare.into() }
}

/// The keys of an object, searched from the one that is expected next.
struct KnownKeys {
    keys: &'static [&'static str],
    next: usize,
}

impl KnownKeys {
    fn new(keys: &'static [&'static str]) -> Self {
        Self { keys, next: 0 }
    }

    /// The known key that a key in quotes is, if it is one.
    fn known(&mut self, spelt: &str) -> Option<&'static str> {
        let key = unquoted(spelt);
        let (before, after) = self.keys.split_at(self.next);
        let found = after.iter().chain(before).position(|known| *known == key)?;
        let at = (self.next + found) % self.keys.len();
        self.next = (at + 1) % self.keys.len();
        self.keys.get(at).copied()
    }
}

#[cfg(test)]
mod tests {
    use proptest::{collection::vec, prelude::*, sample::select};
    use serde_json::json;

    use super::*;
    use crate::json_text::members;

    /// Finds what [`check_keys`] finds, but looks at each object apart.
    fn check_keys_apart(text: &str, warnings: &mut Vec<Warning>) {
        let (mut unknown, mut keys) = (0, KnownKeys::new(EVENT));
        for (key, value) in members(text) {
            let known = keys.known(key);
            let object = OBJECTS.iter().find(|(name, _)| Some(*name) == known).filter(|_| value.starts_with('{'));
            let (place, inside) = object.map_or(("", &[] as &[&str]), |(name, keys)| (*name, *keys));
            if known.is_none() {
                check_unknown("", key, EVENT, &mut unknown, warnings);
            }
            let mut inner = KnownKeys { keys: object.map_or(&[], |(_, keys)| keys), next: 0 };
            let looked_at = if object.is_some() { value } else { "" };
            for (key, _) in members(looked_at) {
                if unknown < MOST && inner.known(key).is_none() {
                    check_unknown(&to_member(place), key, inside, &mut unknown, warnings);
                }
            }
            if unknown >= MOST {
                return;
            }
        }
    }

    proptest! {
        #[test]
        fn keys_are_checked_wherever_they_are(
            keys in vec((select(vec!["ticket", "contact", "chanel", "channel", "original", "a"]),
                vec((select(vec!["id", "idd", "status", "statsu", "a\"b", "queue_id", "\u{e9}"]),
                    select(vec!["7", "{\"idd\":[{}]}", "\"}\"", "[\"]\", {}]", "{}"])), 0..6)), 0..6),
            list in any::<bool>(), padding in select(vec!["", " ", "\n\t"]),
        ) {
            let object = |members: Vec<(&str, String)>| {
                let members = members.into_iter().map(|(key, value)| format!("{}{padding}:{padding}{value}", json!(key)));
                format!("{{{padding}{}{padding}}}", members.collect::<Vec<_>>().join(","))
            };
            let members = keys.into_iter().map(|(key, inner)| {
                let inner = object(inner.into_iter().map(|(key, value)| (key, value.to_owned())).collect());
                (key, if list { format!("[{inner}]") } else { inner })
            });
            let text = object(members.collect());
            let (mut walked, mut apart) = (Vec::new(), Vec::new());
            check_keys(&text, &mut walked);
            check_keys_apart(&text, &mut apart);
            prop_assert_eq!(walked, apart, "{}", text);
        }
    }

    #[test]
    fn the_known_keys_are_those_of_the_event_in_wire_order() {
        let (_, schema) = crate::json_schemas().into_iter().find(|(name, _)| *name == "event").unwrap();
        let schema = schema.to_value();
        let keys = |schema: &serde_json::Value| -> Vec<String> {
            schema["properties"].as_object().unwrap().keys().cloned().collect()
        };
        let mut event = keys(&schema);
        event.push("original".to_owned());
        assert_eq!(event, EVENT);
        for (name, known) in OBJECTS.iter().filter(|(name, _)| *name != "change") {
            let reference = schema["properties"][name].to_string();
            let definition = reference.split("#/$defs/").nth(1).unwrap().split('"').next().unwrap();
            assert_eq!(keys(&schema["$defs"][definition]), *known, "{name}");
        }
        let all: Vec<_> = OBJECTS.iter().map(|(name, _)| *name).collect();
        let objects = EVENT.iter().filter(|name| !["spec", "id", "type", "occurred_at", "original"].contains(name));
        assert!(objects.eq(all.iter()));
    }
}
