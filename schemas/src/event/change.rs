//! What an event changed: the state before and after it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{Department, User};
use crate::{
    Id,
    object::{self, ObjectOnly},
};

/// What an event changed. The event itself is the state after it.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "kind", rename_all = "snake_case")]
#[expect(clippy::large_enum_variant, reason = "an event has one, in place; boxes would only spread it")]
pub enum Change {
    /// `ticket.opened`, `ticket.closed`.
    #[schemars(title = "StatusChange")]
    Status {
        /// Status before the event; null when unknown.
        from: Option<String>,
        /// Status after the event: `pending`, `open` or `closed`.
        to: Option<String>,
    },
    /// `ticket.transferred`. When only the attendant changes, `from` equals `to`.
    #[schemars(title = "QueueChange")]
    Queue {
        /// Department before the event.
        from: Option<Department>,
        /// Department after the event.
        to: Option<Department>,
        /// Attendant before the event.
        from_assignee: Option<User>,
        /// Attendant after the event.
        to_assignee: Option<User>,
    },
    /// `ticket.tags_changed`, with the complete sets.
    #[schemars(title = "TagsChange")]
    Tags {
        /// Labels before the event.
        from: Option<Vec<ChangedTag>>,
        /// Labels after the event.
        to: Option<Vec<ChangedTag>>,
    },
    /// `message.status_changed`.
    #[schemars(title = "MessageStatusChange")]
    MessageStatus {
        /// Status before the event; null when unknown.
        from: Option<String>,
        /// Status after the event: `sent`, `delivered`, `read`, …
        to: Option<String>,
    },
}

/// A label, as a change of labels shows it.
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
pub struct ChangedTag {
    /// Id on the platform.
    #[serde(default)]
    pub id: Option<Id>,
    /// Display name.
    #[serde(default)]
    pub name: Option<String>,
    /// Color, `#rrggbb`, in the case it was typed in.
    #[serde(default)]
    pub color: Option<String>,
    /// 1 for a lane of the board.
    #[serde(default)]
    pub kanban: Option<i64>,
    /// Rank of the label.
    #[serde(default)]
    pub prioridade: Option<i64>,
    /// Kind of conversion.
    #[serde(default)]
    pub conversao: Option<String>,
    /// Id of the platform's customer.
    #[serde(default)]
    pub tenant_id: Option<Id>,
    /// Time of creation, RFC 3339.
    #[serde(default)]
    pub created_at: Option<String>,
    /// Time of the last change, RFC 3339.
    #[serde(default)]
    pub updated_at: Option<String>,
}

impl Change {
    /// True for a transfer to another department. A change of the attendant within a department does not count.
    pub(crate) fn is_to_other_queue(&self) -> bool {
        let id = |queue: &Option<Department>| queue.as_ref().and_then(|queue| queue.id.clone());
        matches!(self, Self::Queue { from, to, .. } if id(from) != id(to))
    }
}

/// A change as JSON, whose `kind` decides the types of `from` and `to`. An internally tagged enum would buffer its
/// content and so lose the spelling of ids.
#[derive(Deserialize)]
struct ChangeJson {
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
        object::object::<_, ChangeJson>(deserializer)?.try_into().map_err(serde::de::Error::custom)
    }
}

impl TryFrom<ChangeJson> for Change {
    type Error = String;

    fn try_from(json: ChangeJson) -> Result<Self, String> {
        let ChangeJson { kind, from, to, from_assignee, to_assignee } = json;
        Ok(match kind.as_str() {
            "status" => Self::Status { from: side("from", from)?, to: side("to", to)? },
            "queue" => {
                let queue = |name, raw| side::<ObjectOnly<Department>>(name, raw).map(|side| side.map(|queue| queue.0));
                Self::Queue { from: queue("from", from)?, to: queue("to", to)?, from_assignee, to_assignee }
            }
            "tags" => {
                let tags = |name, raw| {
                    let tags = side::<Vec<ObjectOnly<ChangedTag>>>(name, raw)?;
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
