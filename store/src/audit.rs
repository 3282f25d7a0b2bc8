//! The entries of the audit log that a change makes: the same in every store.

use std::net::IpAddr;

use schemas::time::rfc3339;
use serde_json::{Map, Value, json};

use crate::{AuditEntry, Author, Item, ItemChange};

/// Bytes of JSON kept of a thing before, and after. An endpoint with many headers, or a subscription with some hundred
/// ids, is kept whole; one as long as a request may be would be a hundred times this, with every change of it.
const KEPT: usize = 16 << 10;
/// Stands in for the rest of what is longer: how many bytes it had.
const OMITTED: &str = "omitted_bytes";

/// Who changed something, and when.
#[derive(Clone, Debug)]
pub(crate) struct AuditStamp {
    pub(crate) author: Author,
    /// Unix milliseconds.
    pub(crate) at: u64,
}

impl AuditStamp {
    /// What is written down of one change that made this revision.
    pub(crate) fn entry(&self, id: u64, revision: u64, change: &ItemChange) -> AuditEntry {
        let [before, after] = [&change.before, &change.after].map(|item| item.as_ref().map(Item::shown));
        AuditEntry {
            id,
            at: rfc3339(self.at),
            revision,
            tenant: change.tenant.clone(),
            author: self.author.name.clone(),
            address: self.author.address.as_ref().map(IpAddr::to_string),
            kind: change.kind.name().to_owned(),
            item: change.id.clone(),
            before: before.as_ref().map(|shown| kept(shown, after.as_ref())),
            after: after.as_ref().map(|shown| kept(shown, before.as_ref())),
        }
    }
}

/// What is kept of one side of a change, given the other.
fn kept(shown: &Value, other: Option<&Value>) -> Value {
    let bytes = length(shown);
    if bytes <= KEPT {
        return shown.clone();
    }
    let fields = shown.as_object().into_iter().flatten();
    let changed = fields.filter(|(name, value)| other.is_none_or(|other| other.get(name) != Some(value)));
    let mut changed: Map<_, _> = changed.map(|(name, value)| (name.clone(), value.clone())).collect();
    changed.insert(OMITTED.to_owned(), bytes.into());
    let changed = Value::Object(changed);
    if length(&changed) <= KEPT { changed } else { json!({OMITTED: bytes}) }
}

fn length(json: &Value) -> usize {
    json.to_string().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_short_is_kept_whole() {
        let (before, after) = (json!({"id": "crm", "name": "a"}), json!({"id": "crm"}));
        assert_eq!((kept(&before, Some(&after)), kept(&after, Some(&before))), (before, after));
    }

    #[test]
    fn of_what_is_long_only_what_changed_is_kept_and_how_long_it_was() {
        let ids: Vec<_> = (0..10_000).collect();
        let (before, after) = (json!({"id": "s", "ids": ids, "name": "a"}), json!({"id": "s", "ids": ids, "more": 1}));
        let lengths = [&before, &after].map(length);
        assert_eq!(kept(&before, Some(&after)), json!({"name": "a", "omitted_bytes": lengths[0]}));
        assert_eq!(kept(&after, Some(&before)), json!({"more": 1, "omitted_bytes": lengths[1]}));
    }

    #[test]
    fn what_changed_and_is_long_itself_is_only_measured() {
        let long = json!({"id": "s", "name": "a".repeat(KEPT)});
        let marker = json!({"omitted_bytes": length(&long)});
        assert_eq!(kept(&long, None), marker, "all of it is new");
        assert_eq!(kept(&long, Some(&json!({"id": "s"}))), marker);
        assert_eq!(kept(&json!({"id": "s"}), Some(&long)), json!({"id": "s"}));
    }
}
