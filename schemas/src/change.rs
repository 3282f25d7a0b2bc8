//! What was before an event, and what is now.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::{
    Department, Id, User,
    object::{self, Object},
};

/// What an event changed. The event itself is the state after it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "an event has one, in place; boxes would only spread it")]
pub enum Change {
    /// `ticket.opened`, `ticket.closed`.
    Status {
        /// Null when unknown.
        from: Option<String>,
        /// `pending`, `open`, `closed`.
        to: Option<String>,
    },
    /// `ticket.transferred`. When only the attendant changes, `from` equals `to`.
    Queue {
        /// The department it left.
        from: Option<Department>,
        /// The department it is in.
        to: Option<Department>,
        /// Whose it was.
        from_assignee: Option<User>,
        /// Whose it is.
        to_assignee: Option<User>,
    },
    /// `ticket.tags_changed`: the full sets.
    Tags {
        /// Before.
        from: Option<Vec<ChangedTag>>,
        /// After.
        to: Option<Vec<ChangedTag>>,
    },
    /// `message.status_changed`.
    MessageStatus {
        /// Null when unknown.
        from: Option<String>,
        /// `sent`, `delivered`, `read`, …
        to: Option<String>,
    },
}

/// A label, as a change of labels shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ChangedTag {
    /// Opaque.
    #[serde(default)]
    pub id: Option<Id>,
    /// As shown.
    #[serde(default)]
    pub name: Option<String>,
    /// `#rrggbb`, case as typed.
    #[serde(default)]
    pub color: Option<String>,
    /// 1 for a board lane.
    #[serde(default)]
    pub kanban: Option<i64>,
    /// Rank.
    #[serde(default)]
    pub prioridade: Option<i64>,
    /// Conversion kind.
    #[serde(default)]
    pub conversao: Option<String>,
    /// Opaque.
    #[serde(default)]
    pub tenant_id: Option<Id>,
    /// RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

impl Change {
    /// Whether a transfer went to another department: an attendant's change within one is no transfer to a queue.
    pub fn is_to_other_queue(&self) -> bool {
        let id = |queue: &Option<Department>| queue.as_ref().and_then(|queue| queue.id.clone());
        matches!(self, Self::Queue { from, to, .. } if id(from) != id(to))
    }
}

/// As it stands on the wire: what `from` and `to` are, `kind` says. An internally tagged enum would not do, since it
/// buffers its content and so loses the spelling of ids.
#[derive(Deserialize)]
struct Wire {
    kind: String,
    #[serde(default)]
    from: Option<Box<serde_json::value::RawValue>>,
    #[serde(default)]
    to: Option<Box<serde_json::value::RawValue>>,
    #[serde(default, deserialize_with = "object::optional")]
    from_assignee: Option<User>,
    #[serde(default, deserialize_with = "object::optional")]
    to_assignee: Option<User>,
}

impl<'de> Deserialize<'de> for Change {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        object::object::<_, Wire>(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl TryFrom<Wire> for Change {
    type Error = String;

    fn try_from(wire: Wire) -> Result<Self, String> {
        let Wire { kind, from, to, from_assignee, to_assignee } = wire;
        Ok(match kind.as_str() {
            "status" => Self::Status { from: side("from", from)?, to: side("to", to)? },
            "queue" => {
                let queue = |name, raw| side::<Object<Department>>(name, raw).map(|side| side.map(|queue| queue.0));
                Self::Queue { from: queue("from", from)?, to: queue("to", to)?, from_assignee, to_assignee }
            }
            "tags" => {
                let tags = |name, raw| {
                    let tags = side::<Vec<Object<ChangedTag>>>(name, raw)?;
                    Ok::<_, String>(tags.map(|tags| tags.into_iter().map(|tag| tag.0).collect()))
                };
                Self::Tags { from: tags("from", from)?, to: tags("to", to)? }
            }
            "message_status" => Self::MessageStatus { from: side("from", from)?, to: side("to", to)? },
            _ => return Err("unknown kind: write status, queue, tags or message_status".to_owned()),
        })
    }
}

fn side<T: for<'de> Deserialize<'de>>(
    name: &str,
    raw: Option<Box<serde_json::value::RawValue>>,
) -> Result<Option<T>, String> {
    let parsed = raw.map(|raw| serde_json::from_str::<Option<T>>(raw.get())).transpose();
    parsed.map(Option::flatten).map_err(|error| format!("{name}: {error}"))
}
