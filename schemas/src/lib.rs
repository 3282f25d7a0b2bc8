//! The plain values of events, deliveries and configuration.
//!
//! Events and the vendors' dialects, subscriptions and their matches, deliveries and their ids, dead letters and their
//! reasons, and the codecs of messages. This crate does no I/O, and reads neither clock nor randomness.

pub mod address;
mod attempt;
mod catalogue;
mod dead_letter;
mod delivery;
pub mod dialect;
mod endpoint;
mod endpoint_health;
mod envelope;
mod event;
mod event_type;
mod format;
mod id;
mod json_text;
mod notice;
mod object;
mod opaque;
mod operational;
pub mod pattern;
pub mod pointer;
pub mod process_report;
mod reference;
mod refusal;
pub mod request_header;
mod retiring;
mod routing_key;
mod secret;
pub mod secret_fields;
pub mod signature;
mod submission;
mod subscription;
pub mod suggest;
mod tenant;
pub mod time;
mod view;
mod warning;
pub mod wire;

pub use attempt::{Attempt, OutcomeClass};
pub use catalogue::{EventTypeEntry, Samples, catalogue};
pub use dead_letter::{
    DeadLetter, DeadLetterRetention, DeadReason, MAX_TENANT_BYTES, ParkReason, Parked, RetentionLevels, body_as_json,
};
pub use delivery::{Delivery, MAX_SUBSCRIPTIONS, Part, delivery_id};
pub use dialect::{Dialect, RenderedBody, SourceContext, VendorEvent, read, render, render_test};
pub use endpoint::{Endpoint, EndpointState, HeaderText, RateLimit, RetryPolicy};
pub use endpoint_health::{EndpointHealth, HealthState, LastError, show_health};
pub use envelope::{Envelope, MAX_DEPTH};
pub use event::{
    Actor, Change, ChangedTag, Channel, ChatMessage, Company, Contact, Department, Direction, Event, Media, SPEC,
    Source, Tag, TagLink, Ticket, User,
};
pub use event_type::{EventType, InvalidEventType, TypePattern};
pub use format::{Format, FormatOptions, MediaBodies, StatusSnapshot, Timestamp, WebhookEcho, WhazingShape};
pub use id::{EventId, Id, InvalidEventId, hex};
pub use notice::{BreakerChange, Counts, Finding, Notice};
pub use opaque::Opaque;
pub use operational::{DeliveryEnd, OperationalEvent};
pub use reference::{bound_integers, json_schemas, samples, vendor_samples};
pub use refusal::{Refusal, RefusalKind};
pub use retiring::{RetiringHash, RetiringSecret, Rotation, SigningSecret};
pub use routing_key::{escape, routing_key, tenant_of, unescape};
pub use secret::{EmptySecret, MASK, Secret, quotable};
pub use secret_fields::{SecretField, SecretFields, SecretForm};
pub use signature::Signature;
pub use submission::{Submission, SubmittedEvent, peek_id};
pub use subscription::{EventFacts, IdSet, Match, MessageDirection, Mismatch, NO_QUEUE, Subscription, TicketStatus};
pub use tenant::{
    ChannelId, Configuration, HistoryRetention, Key, KeyHash, Quota, QuotaName, Scope, SourceConfig, Tenant,
};
pub use time::Span;
pub use view::{View, path_segment};
pub use warning::{Strictness, Warning, WarningCode};
pub use wire::{Acceptance, BadHeader, HeaderValue, Headers, Message, TraceContext};
