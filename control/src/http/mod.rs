//! What control serves: a file for each thing that can be asked for, on one core.
//!
//! `call` is the request and who asks; `write`, `change` and `tag` carry a body to the store; `crud` is the calls that
//! four resources share; `describe` says all of it to OpenAPI. Decisions are in `settings`.

mod actions;
mod apply;
mod books;
mod call;
mod change;
mod channels;
mod crud;
mod denied;
mod describe;
mod endpoints;
mod explain;
mod integrations;
mod keys;
mod letters;
mod page;
mod parked;
mod queues;
mod replays;
mod request;
mod resource;
mod rotations;
mod sources;
mod subscriptions;
mod tag;
mod tenants;
mod views;
mod write;

use std::sync::Arc;

use aide::{axum::ApiRouter, openapi::OpenApi};
use axum::{Router, extract::DefaultBodyLimit};
use schemas::{Endpoint, Key, SourceConfig, Subscription};

use crate::Control;

/// A filter with every id of a large log would be longer; such a one is better said by its other fields.
const MAX_BODY: usize = 1 << 20;

/// What control serves, to be merged with what else the process serves.
pub fn routes(control: Arc<Control>) -> Router {
    Router::from(api()).with_state(control)
}

/// Says of these routes what OpenAPI wants to know.
pub fn describe(document: &mut OpenApi) {
    // Only the description is wanted: without a control it serves nothing.
    let _ = api().finish_api(document);
}

fn api() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .merge(tenants::routes())
        .merge(crud::routes::<Endpoint>())
        .merge(crud::routes::<Subscription>())
        .merge(crud::routes::<SourceConfig>())
        .merge(crud::routes::<Key>())
        .merge(actions::routes())
        .merge(rotations::routes())
        .merge(channels::routes())
        .merge(integrations::routes())
        .merge(queues::routes())
        .merge(explain::routes())
        .merge(books::routes())
        .merge(letters::routes())
        .merge(replays::routes())
        .merge(parked::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .merge(apply::routes())
}
