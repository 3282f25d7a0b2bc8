//! The routes that endpoints, subscriptions, sources and keys share, with the schemas of their bodies and answers.

use std::{borrow::Cow, marker::PhantomData, sync::Arc};

use schemars::{JsonSchema, Schema, SchemaGenerator};
use schemas::Scope;
use serde_json::{Value, json};
use service::openapi::{ApiRouter, Operation, get_with};

use super::{
    describe::{self, Changed, PageSchema},
    read::{list, show},
    resource::Resource,
    tenant_item::TenantItem,
    write,
};
use crate::{Control, DeadLetterFilter, settings::list_name};

/// The routes of one kind of item: list, create, show, replace, patch, delete.
pub(crate) fn routes<T: TenantItem>() -> ApiRouter<Arc<Control>> {
    let (kind, list_name) = (T::KIND.name(), list_name(T::KIND));
    let collection = format!("/v1/tenants/{{tenant}}/{list_name}");
    let name = describe::capital(kind);
    let a = if kind.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" };
    ApiRouter::new()
        .api_route(
            &collection,
            get_with(list::<T>, |op| {
                let op = operation::<T>(op, &format!("list{name}s"), &format!("List {list_name}"), Scope::Read);
                describe::answers::<200, PageSchema<T>>(describe::paged(op))
            })
            .post_with(write::create::<T>, |op| {
                let op = operation::<T>(op, &format!("create{name}"), &format!("Create {a} {kind}"), Scope::Manage);
                describe::answers::<201, WithShownOnce<T>>(describe::creates::<T>(op, T::EXAMPLE))
            }),
        )
        .api_route(
            &format!("{collection}/{{id}}"),
            get_with(show::<T>, |op| {
                let op = operation::<T>(op, &format!("get{name}"), &format!("Show {a} {kind}"), Scope::Read);
                describe::answers::<200, T>(describe::versioned(op))
            })
            .put_with(write::replace::<T>, |op| {
                let op =
                    operation::<T>(op, &format!("put{name}"), &format!("Create or replace {a} {kind}"), Scope::Manage);
                let op = describe::replaces::<T>(op, T::EXAMPLE);
                describe::answers::<201, WithShownOnce<T>>(describe::answers::<200, Changed<T>>(op))
            })
            .patch_with(write::patch::<T>, |op| {
                let op = operation::<T>(op, &format!("patch{name}"), &format!("Change {a} {kind}"), Scope::Manage);
                let op = describe::patches::<T>(op, r#"{"name":"New name"}"#);
                describe::answers::<200, Changed<T>>(op)
            })
            .delete_with(write::delete::<T>, |op| {
                let op = operation::<T>(op, &format!("delete{name}"), &format!("Delete {a} {kind}"), Scope::Manage);
                describe::answers::<200, describe::Deleted>(describe::conditional(op))
            }),
        )
}

fn operation<T: TenantItem>(op: Operation, id: &str, summary: &str, scope: Scope) -> Operation {
    describe::operation(op, list_name(T::KIND), id, summary, Some(scope))
}

/// Declares the schema of a body or an answer: the schema of the item with some differences.
macro_rules! described {
    ($(#[$doc:meta])* $name:ident, $suffix:literal, |$generator:ident| $schema:expr) => {
        $(#[$doc])*
        pub(crate) struct $name<T>(PhantomData<T>);

        impl<T: Resource> JsonSchema for $name<T> {
            fn schema_name() -> Cow<'static, str> {
                format!("{}{}", T::schema_name(), $suffix).into()
            }

            fn json_schema($generator: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

described!(
    /// Answer to a request that created an item, with the fields that are shown only once, and the warnings.
    WithShownOnce, "Made", |generator| {
        let schema = T::json_schema(generator);
        let mut schema = describe::with_warnings(schema, generator);
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            for (name, description) in T::SHOWN_ONCE {
                properties.insert((*name).to_owned(), json!({"type": "string", "readOnly": true, "description": description}));
            }
        }
        schema
    }
);

described!(
    /// Answer to a request that enabled what owns an endpoint, with the dead letters that could be replayed now.
    Enabled, "Enabled", |generator| {
        let mut schema = T::json_schema(generator);
        let replayable = generator.subschema_for::<Replayable>();
        if let Some(Value::Object(properties)) = schema.get_mut("properties") {
            properties.insert("replayable".to_owned(), replayable.into());
        }
        schema
    }
);

/// What ended while an endpoint was disabled, and could be replayed.
#[derive(JsonSchema)]
#[expect(dead_code, reason = "described only: the answer is made where the endpoint is enabled")]
struct Replayable {
    /// How many live dead letters `endpoint_disabled` it has. Null if they cannot be read now.
    dead_letters: Option<u64>,
    /// Which they are, for a replay.
    filter: DeadLetterFilter,
    /// The command that replays them. Left out where there are none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    detail: Option<String>,
}
