//! The HTTP API of control.
//!
//! `context` is the request and its sender. `resource` says what can be configured, `read` and `write` read and change
//! it, and `edit` carries changes to the store. Each other file serves one resource or action. `settings` decides what
//! a change means.

mod actions;
mod apply;
mod audit;
mod channels;
mod conditions;
mod context;
mod counts;
mod dead_letter_selection;
mod dead_letters;
mod describe;
mod edit;
mod endpoint_problems;
mod endpoint_test;
mod endpoints;
mod erasures;
mod event_types;
mod explain;
mod history;
mod integrations;
mod item_routes;
mod keys;
mod listen;
mod missing;
mod page;
mod parked;
mod problems;
mod queues;
mod read;
mod replays;
mod resource;
mod rotations;
mod shapes;
mod sources;
mod status;
mod subscriptions;
mod tenant_item;
mod tenants;
mod usage;
mod view;
mod write;

use std::sync::Arc;

use axum::{Router, extract::DefaultBodyLimit, middleware};
use schemas::{Endpoint, Key, SourceConfig, Subscription};
use service::openapi::{ApiRouter, Description};

use self::{actions::HasEndpoint, channels::ChannelWebhook, integrations::Integration, queues::QueueBinding};
use crate::Control;

pub use channels::TickedEvent;

/// Largest size of a body, in bytes. Only a filter with the ids of a whole large log would be longer, and its other
/// fields can express that.
const MAX_BODY: usize = 1 << 20;

pub fn routes(control: Arc<Control>) -> Router {
    api().into_parts().0.with_state(control).layer(middleware::from_fn(missing::name))
}

/// Describes these routes for OpenAPI.
pub fn describe() -> Description {
    api().into_parts().1
}

fn api() -> ApiRouter<Arc<Control>> {
    ApiRouter::new()
        .merge(tenants::routes())
        .merge(item_routes::routes::<Endpoint>())
        .merge(item_routes::routes::<Subscription>())
        .merge(item_routes::routes::<SourceConfig>())
        .merge(item_routes::routes::<Key>())
        .merge(of_endpoint::<Endpoint>())
        .merge(of_endpoint::<ChannelWebhook>())
        .merge(of_endpoint::<Integration>())
        .merge(endpoint_test::routes::<QueueBinding>())
        .merge(rotations::routes())
        .merge(channels::routes())
        .merge(integrations::routes())
        .merge(queues::routes())
        .merge(explain::routes())
        .merge(event_types::routes())
        .merge(usage::routes())
        .merge(audit::routes())
        .merge(dead_letters::routes())
        .merge(replays::routes())
        .merge(parked::routes())
        .merge(status::routes())
        .merge(self::history::routes())
        .merge(listen::routes())
        .merge(erasures::routes())
        .merge(endpoint_problems::routes())
        .layer(DefaultBodyLimit::max(MAX_BODY))
        .merge(apply::routes())
}

/// The actions on what owns an endpoint.
fn of_endpoint<R: HasEndpoint>() -> ApiRouter<Arc<Control>> {
    actions::routes::<R>().merge(endpoint_test::routes::<R>()).merge(rotations::of_secrets::<R>())
}

#[cfg(test)]
mod tests {
    use schemas::{
        SecretFields,
        secret_fields::testing::{CANARY, declared, secret_properties, with_canaries},
    };
    use serde_json::{Value, json};

    use super::{channels::ChannelWebhook, integrations::Integration, queues::QueueBinding, resource::Resource};
    use crate::http::resource::kept_fields;

    fn check<R: Resource + schemars::JsonSchema>(fields: &Value) {
        assert_eq!(declared::<R>(), secret_properties::<R>(), "{}", R::schema_name());
        let resource = with_canaries::<R>(fields);
        let shown = Value::Object(resource.shown()).to_string();
        assert!(!shown.contains(CANARY), "{shown}");
        assert!(resource.secrets().count() >= R::SECRET_FIELDS.len());
    }

    #[test]
    fn every_secret_field_of_a_view_is_declared_and_masked() {
        check::<ChannelWebhook>(&json!({"url": "https://n8n.example/"}));
        check::<Integration>(&json!({"url": "https://n8n.example/"}));
        check::<QueueBinding>(&json!({"integration_id": "bot"}));
    }

    #[test]
    fn every_secret_field_that_a_put_leaves_out_is_kept() {
        fn lost<R: SecretFields + Resource>(fields: &Value) -> Vec<&'static str> {
            let stored = with_canaries::<R>(fields).reveal();
            let body = fields.as_object().unwrap().clone();
            let replaced = crate::settings::replaced(&kept_fields::<R>(), Some(&stored), body).unwrap();
            let is_lost = |name: &&str| {
                let secret = |object: &crate::settings::Object| object.get(*name).map(ToString::to_string);
                secret(&replaced)
                    .is_none_or(|kept| stored[*name].to_string().contains(CANARY) && !kept.contains(CANARY))
            };
            R::SECRET_FIELDS.iter().map(|field| field.name).filter(is_lost).collect()
        }
        assert_eq!(lost::<schemas::Endpoint>(&json!({"id": "crm", "url": "https://crm.example/"})), [""; 0]);
        assert_eq!(lost::<schemas::SourceConfig>(&json!({"id": "main", "dialect": "whazing"})), [""; 0]);
        assert_eq!(lost::<ChannelWebhook>(&json!({"url": "https://n8n.example/"})), [""; 0]);
        assert_eq!(lost::<Integration>(&json!({"url": "https://n8n.example/"})), [""; 0]);
    }
}
