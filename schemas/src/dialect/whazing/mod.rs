//! WHAZING: channel webhook and queue integration, which share one shape.

mod read;
mod render;

pub(super) use read::event as read;
pub(super) use render::{event, message, test};
