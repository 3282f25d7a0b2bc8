//! OpenAPI schemas of problems.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use super::{Code, FieldError, Problem};

impl JsonSchema for FieldError {
    fn schema_name() -> Cow<'static, str> {
        "FieldError".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": "object",
            "description": "One place in the body that is wrong.",
            "required": ["pointer", "message"],
            "properties": {
                "pointer": {"type": "string", "format": "json-pointer", "examples": ["/events/3/ticket/id"]},
                "message": {"type": "string", "description": "What is wrong there; never the value."}
            }
        })
    }
}

impl JsonSchema for Problem {
    fn schema_name() -> Cow<'static, str> {
        "Problem".into()
    }

    fn json_schema(generator: &mut SchemaGenerator) -> Schema {
        let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
        let errors = generator.subschema_for::<FieldError>();
        json_schema!({
            "type": "object",
            "description": "An error: RFC 9457. The list of codes is closed: programs may match on it.",
            "required": ["type", "title", "status", "code"],
            "properties": {
                "type": {"type": "string", "format": "uri", "examples": ["urn:carteiro:problem:not_found"]},
                "title": {"type": "string"},
                "status": {"type": "integer"},
                "detail": {"type": "string"},
                "code": {"type": "string", "enum": codes},
                "errors": {"type": "array", "items": errors}
            }
        })
    }
}
