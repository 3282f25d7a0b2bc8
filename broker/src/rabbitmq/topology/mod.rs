//! The topology on a RabbitMQ: what there has to be, who may use it, and the commands that make, compare and remove it.

mod administration;
mod declare;
mod definitions;
mod entities;
mod plan;
mod probes;
mod rights;

pub(super) use administration::contents_on;
pub use administration::{QueueContents, announce, apply, contents, discard, remove, stop_intake, verify};
pub(super) use declare::{check, declare};
pub use definitions::{Definitions, PasswordHash};
pub use entities::{Argument, DeclaredBinding, DeclaredExchange, DeclaredQueue, Routing};
pub use plan::Topology;
pub(super) use plan::{DELIVERY_LIMIT_KEY, Names};
pub(super) use probes::intake_is_bound;
pub use rights::{Rights, Role};
