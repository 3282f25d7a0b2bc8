//! The OpenAPI description of routes, made by code beside each handler.
//!
//! [`ApiRouter`] is axum's router together with a [`Description`] of its routes. Schemas come from `schemars`, and enter the
//! document as JSON, so that no keyword of theirs is lost on the way.

pub mod describe;
mod responses;
mod router;
mod schemas;
mod shapes;
mod simplify;

use schemas::Schemas;
use serde_json::Value;
use utoipa::openapi::OpenApi;

pub use describe::Operation;
pub use router::{ApiRouter, MethodRoutes, delete_with, get_with, patch_with, post_with, put_with};
pub use shapes::{body_shape, patch_shape};

/// A description of routes. Its schemas are kept apart until the whole document is written, because `utoipa` knows only
/// some keywords of JSON Schema.
#[derive(Default)]
pub struct Description {
    pub document: OpenApi,
    schemas: Schemas,
}

impl Description {
    pub fn merge(&mut self, other: Self) {
        self.document.merge(other.document);
        self.schemas.merge(other.schemas);
    }

    /// Writes the document with the schemas of all its bodies and answers.
    pub fn into_json(mut self) -> Value {
        responses::write_into(self.document.components.get_or_insert_default(), &mut self.schemas);
        let mut document = serde_json::to_value(&self.document).unwrap_or_default();
        self.schemas.write_into(&mut document);
        document
    }
}

#[cfg(test)]
mod tests {
    use axum::extract::State;
    use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
    use serde_json::{Value, json};

    use super::{ApiRouter, Description, describe, get_with};

    /// A type whose schema has keywords that `utoipa` does not know.
    struct Unusual;

    impl JsonSchema for Unusual {
        fn schema_name() -> std::borrow::Cow<'static, str> {
            "Unusual".into()
        }

        fn json_schema(_: &mut SchemaGenerator) -> Schema {
            unusual()
        }
    }

    fn unusual() -> Schema {
        json_schema!({
            "type": "object",
            "properties": {
                "a": {"type": ["string", "null"], "pattern": "^a", "minLength": 1, "maxLength": 9, "format": "x"},
                "b": {"type": "array", "items": {"type": "integer", "multipleOf": 2, "exclusiveMinimum": 0}, "minItems": 1,
                    "maxItems": 3, "contains": {"minimum": 4}, "minContains": 1},
                "c": {"$ref": "#/components/schemas/Unusual", "description": "beside a reference", "readOnly": true},
                "d": {"anyOf": [{"const": 1}, {"type": "null"}], "examples": [1]},
            },
            "patternProperties": {"^x-": {"contentEncoding": "base64", "contentMediaType": "text/plain"}},
            "propertyNames": {"maxLength": 64}, "minProperties": 1, "maxProperties": 9, "required": ["b"],
            "dependentRequired": {"a": ["b"]}, "dependentSchemas": {"a": {"required": ["b"]}},
            "if": {"required": ["a"]}, "then": {"required": ["d"]}, "else": {"not": {"required": ["d"]}},
            "unevaluatedProperties": false, "deprecated": true, "$comment": "kept",
        })
    }

    async fn handler(State(()): State<()>) {}

    fn described() -> Value {
        let routes = ApiRouter::<()>::new().api_route(
            "/unusual",
            get_with(handler, |op| {
                let op = describe::call(op, "tag", "getUnusual", "Show it", "Needs nothing.");
                describe::answers::<200, Unusual>(describe::paged(describe::conditional(op)))
            })
            .post_with(handler, |op| describe::takes::<Unusual>(op, r#"{"b":[4]}"#)),
        );
        let (_, description): (_, Description) = routes.into_parts();
        description.into_json()
    }

    #[test]
    fn no_keyword_of_a_schema_is_lost() {
        assert_eq!(described()["components"]["schemas"]["Unusual"], *unusual().as_value());
    }

    #[test]
    fn a_route_is_described_with_its_methods_bodies_answers_and_parameters() {
        let document = described();
        let item = &document["paths"]["/unusual"];
        let reference = json!({"$ref": "#/components/schemas/Unusual"});
        assert_eq!(item["get"]["responses"]["200"]["content"]["application/json"]["schema"], reference);
        assert_eq!(item["post"]["requestBody"]["content"]["application/json"]["schema"], reference);
        let parameters: Vec<_> = item["get"]["parameters"].as_array().expect("parameters").iter().collect();
        let limit = json!({"type": "integer", "minimum": 1, "maximum": 1000, "default": 100});
        assert_eq!((parameters.len(), &parameters[2]["schema"]), (4, &limit));
    }
}
