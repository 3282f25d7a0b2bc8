//! History in control: it writes what the other processes record, keeps it within its bounds, and answers what is asked.

pub(crate) mod fields;
mod metrics;
mod replay;
mod resend;
mod shown;
mod upkeep;
mod writer;

pub use metrics::HistoryMetrics;
pub(crate) use replay::{HistoryReplay, HistorySelection};
pub(crate) use resend::{Resend, ResendError};
pub(crate) use shown::{ShownSince, scope_of};
pub use upkeep::HistoryUpkeep;
pub use writer::{FollowHistory, HistoryInput, HistoryWriter};
