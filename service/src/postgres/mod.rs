//! PostgreSQL: the URL of a database, and one connection to it. What is asked is its owners' business.

mod session;
mod side_session;
mod url;

pub use session::{LONG, Parameters, PostgresSession, QUICK};
pub use side_session::SideSession;
pub use url::{DatabaseUrl, error_text};

/// A database cannot be used, or does not answer. The text has neither user nor password.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct DatabaseError(pub String);
