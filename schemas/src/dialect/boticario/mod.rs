//! Grupo Boticário Instant Message: responses of clients, and statuses of sent messages.

mod read;
mod render;

pub(super) use read::event as read;
pub(super) use render::{event, message};
