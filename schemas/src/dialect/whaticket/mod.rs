//! Whaticket SaaS: one URL per connection.

mod read;
mod render;
mod ticket_data;

pub(super) use read::event as read;
pub(super) use render::{event, message};
