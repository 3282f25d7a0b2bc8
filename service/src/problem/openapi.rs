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
                "pointer": {"type": "string", "format": "json-pointer",
                    "description": "Where it is: a JSON pointer (RFC 6901) into the body. Empty: the body itself.", "examples": ["/events/3/ticket/id"]},
                "message": {"type": "string", "description": "What is wrong there, without the value."}
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
            "description": "An error, as RFC 9457 has it. The list of codes is closed: programs may match on it.",
            "required": ["type", "title", "status", "code"],
            "properties": {
                "type": {"type": "string", "format": "uri", "description": "`urn:carteiro:problem:` and the code.", "examples": ["urn:carteiro:problem:not_found"]},
                "title": {"type": "string", "description": "What went wrong, the same for all problems of this code."},
                "status": {"type": "integer", "description": "Status of the answer."},
                "detail": {"type": "string", "description": "What went wrong this time."},
                "code": {"type": "string", "enum": codes, "description": "What went wrong, for programs."},
                "errors": {"type": "array", "items": errors, "description": "Each place in the body that is wrong."}
            }
        })
    }
}
