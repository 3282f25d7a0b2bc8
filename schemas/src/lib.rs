//! The contract: what travels and what is configured, as plain values.
//!
//! Events and the vendors' dialects, subscriptions and what they mean, deliveries and their ids, dead letters and
//! their reasons. serde only: nothing here does I/O, reads a clock or rolls a die.

pub mod address;
mod attempt;
mod change;
mod compact;
mod counts;
mod dead_letter;
mod delivery;
pub mod dialect;
mod endpoint;
mod envelope;
mod event;
mod event_facts;
mod event_type;
mod format;
mod id;
mod notice;
mod object;
mod opaque;
mod operational;
mod pattern;
pub mod pointer;
mod published;
mod redact;
mod refusal;
mod retiring;
mod retry;
mod routing_key;
mod samples;
mod secret;
pub mod signature;
mod span;
mod submission;
mod subscription;
mod tenant;
pub mod time;
mod walk;
pub mod wire;

pub use attempt::{Attempt, OutcomeClass};
pub use change::{Change, ChangedTag};
pub use counts::Counts;
pub use dead_letter::{DeadLetter, DeadReason, ParkReason, Parked, body_as_json};
pub use delivery::{Delivery, MAX_SUBSCRIPTIONS, Part, delivery_id};
pub use dialect::{Body, Dialect, SourceContext, VendorEvent, read, render, render_test};
pub use endpoint::{Endpoint, EndpointState, HeaderText, RateLimit};
pub use envelope::{Envelope, MAX_DEPTH};
pub use event::{
    Actor, Channel, ChatMessage, Company, Contact, Department, Direction, Event, Media, SPEC, Source, Tag, TagLink,
    Ticket, User,
};
pub use event_facts::EventFacts;
pub use event_type::{EventType, InvalidEventType};
pub use format::{Format, FormatOptions, MediaBodies, Shape, StatusSnapshot, Timestamp, WebhookEcho};
pub use id::{EventId, Id, InvalidEventId};
pub use notice::{BreakerChange, DeadLetterRetention, Finding, Notice, QuotaName};
pub use opaque::Opaque;
pub use operational::OperationalEvent;
pub use pattern::TypePattern;
pub use published::json_schemas;
pub use refusal::{Refusal, RefusalKind};
pub use retiring::{RetiringHash, RetiringSecret, Rotation, SigningSecret};
pub use retry::RetryPolicy;
pub use routing_key::{escape, routing_key, tenant_of, unescape};
pub use samples::samples;
pub use secret::{EmptySecret, MASK, Secret, repeatable};
pub use signature::Signature;
pub use span::Span;
pub use submission::{Submission, peek_id};
pub use subscription::{IdSet, Match, MessageDirection, Mismatch, Subscription, TicketStatus};
pub use tenant::{ChannelId, Configuration, Key, KeyHash, Quota, Scope, SourceConfig, Tenant};
pub use wire::{Acceptance, BadHeader, HeaderValue, Headers, Message, TraceContext};
