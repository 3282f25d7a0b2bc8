//! Grupo Boticário Instant Message: answers of clients, and what became of our messages.

mod read;
mod render;

pub(super) use read::event as read;
pub(super) use render::{event, message};
