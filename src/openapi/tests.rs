//! The document is the committed one, and is complete and consistent.

use std::{collections::BTreeSet, fs, path::Path};

use serde_json::Value;
use service::problem::Code;

use super::document;

/// All calls, as path, method and operation.
fn calls(document: &Value) -> impl Iterator<Item = (&str, &str, &Value)> {
    let methods = ["get", "put", "post", "patch", "delete"];
    document["paths"].as_object().expect("paths").iter().flat_map(move |(path, item)| {
        let item = item.as_object().expect("an item");
        item.iter()
            .filter(move |(name, _)| methods.contains(&name.as_str()))
            .map(move |(method, operation)| (path.as_str(), method.as_str(), operation))
    })
}

#[test]
fn the_committed_copy_is_the_document() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json");
    let text = serde_json::to_string_pretty(&document()).expect("it can be written") + "\n";
    if std::env::var_os("UPDATE_OPENAPI").is_some() {
        fs::write(&file, &text).expect("the copy can be written");
    }
    let committed = fs::read_to_string(&file).expect("docs/openapi.json");
    assert!(committed == text, "docs/openapi.json differs: run the test with UPDATE_OPENAPI=1 and commit it");
}

#[test]
fn every_call_has_a_unique_name_a_summary_an_answer_and_its_parameters() {
    let document = document();
    let mut names = BTreeSet::new();
    for (path, method, operation) in calls(&document) {
        let name = operation["operationId"].as_str().unwrap_or_else(|| panic!("{method} {path} has no name"));
        assert!(names.insert(name), "{name} is two calls");
        assert!(operation["summary"].is_string(), "{name}");
        let answers = operation["responses"].as_object().expect("responses");
        assert!(answers.keys().any(|status| status.starts_with('2')), "{name} has no answer");
        assert!(!answers.contains_key("default"), "{name} does not say which problems it answers");
        let parts: Vec<_> = path.split('/').filter(|part| part.starts_with('{')).collect();
        let given = document["paths"][path]["parameters"].as_array().map_or(0, Vec::len);
        assert_eq!(given, parts.len(), "{path}");
        if let Some(body) = operation.get("requestBody") {
            let body = body["content"].as_object().expect("a body").values().next().expect("a kind");
            assert!(body["example"].is_object(), "{name} has no example");
        }
    }
    for name in ["publishEvents", "getOpenApi"] {
        assert!(names.contains(name), "{name} is missing of {names:?}");
    }
}

#[test]
fn every_reference_leads_somewhere() {
    fn references<'a>(value: &'a Value, found: &mut BTreeSet<&'a str>) {
        match value {
            Value::Object(fields) => fields.iter().for_each(|(name, value)| match value.as_str() {
                Some(reference) if reference.starts_with("#/") || name == "$ref" => _ = found.insert(reference),
                _ => references(value, found),
            }),
            Value::Array(items) => items.iter().for_each(|item| references(item, found)),
            _ => {}
        }
    }
    let document = document();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    for reference in found {
        let pointer = reference.strip_prefix('#').unwrap_or_else(|| panic!("{reference} leads away"));
        assert!(document.pointer(pointer).is_some(), "{reference}");
    }
}

/// `schemars` adds a number to the name of a second type, to which the document then does not refer.
#[test]
fn every_schema_has_a_name_of_its_own() {
    let document = document();
    let schemas = document["components"]["schemas"].as_object().expect("schemas");
    let second: Vec<_> = schemas.keys().filter(|name| name.ends_with(|end: char| end.is_ascii_digit())).collect();
    assert!(second.is_empty(), "{second:?}");
}

#[test]
fn every_problem_code_is_listed() {
    let document = document();
    let listed = &document["components"]["schemas"]["Problem"]["properties"]["code"]["enum"];
    let codes: Vec<_> = Code::ALL.iter().map(|code| code.as_str()).collect();
    assert_eq!(*listed, serde_json::json!(codes));
}

#[test]
fn every_call_says_which_problems_it_answers_and_names_their_codes() {
    let document = document();
    for (path, _, operation) in calls(&document) {
        let name = operation["operationId"].as_str().expect("a name");
        let needs = |condition: bool, status: &str| {
            let answer = &operation["responses"][status];
            assert!(!condition || answer["$ref"].is_string(), "{name} has no {status}");
            assert!(
                answer.is_null() || answer["description"].as_str().is_some_and(|text| text.contains('`')),
                "{name}: {status}"
            );
        };
        let (has_key, has_body) =
            (operation["security"] != serde_json::json!([{}]), operation["requestBody"].is_object());
        for status in ["401", "429", "503"] {
            needs(has_key, status);
        }
        // Some calls take any key.
        let who = operation["description"].as_str().unwrap_or_default();
        needs(who.contains("scope `") || who.contains("operator's key"), "403");
        for status in ["413", "415", "422"] {
            needs(has_body, status);
        }
        needs(path.contains('{'), "404");
        let is_conditional =
            operation["parameters"].as_array().is_some_and(|all| all.iter().any(|one| one["name"] == "If-Match"));
        needs(is_conditional, "412");
    }
}

/// The shapes that generators of clients do not understand.
#[test]
fn every_schema_can_be_generated_from() {
    fn check(schema: &Value, at: &str) {
        let Value::Object(fields) = schema else { return };
        for keyword in ["title", "uniqueItems", "writeOnly"] {
            assert!(fields.get(keyword).is_none_or(Value::is_object), "{at}: {keyword}");
        }
        let default = fields.get("default").filter(|_| !fields.contains_key("properties"));
        assert!(
            !default.is_some_and(|default| default.is_object() || default.is_array()),
            "{at}: a default that is no plain value"
        );
        let choices = fields.get("oneOf").and_then(Value::as_array);
        assert!(!choices.is_some_and(|all| all.iter().all(|one| one["const"].is_string())), "{at}: no enum");
        for property in fields.get("properties").and_then(Value::as_object).into_iter().flatten() {
            assert!(property.1.is_object(), "{at}/{}: a boolean", property.0);
        }
        for (name, value) in fields
            .iter()
            .filter(|(name, _)| !["example", "examples", "default", "enum", "const"].contains(&name.as_str()))
        {
            let items = value.as_array().into_iter().flatten();
            items.chain([value]).for_each(|value| check(value, &format!("{at}/{name}")));
        }
    }
    let document = document();
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        check(schema, name);
    }
    for (name, schema) in document["components"]["schemas"].as_object().expect("schemas") {
        assert!(
            !name.ends_with("Patch")
                || (schema.get("required").is_none() && !schema.to_string().contains(r#""default""#)),
            "{name}"
        );
    }
}

#[test]
fn every_tag_is_used_and_described() {
    let document = document();
    let used: BTreeSet<_> = calls(&document).filter_map(|(_, _, operation)| operation["tags"][0].as_str()).collect();
    let explained: BTreeSet<_> = super::TAGS.iter().map(|(name, _)| *name).collect();
    assert_eq!(used, explained);
}

#[tokio::test]
async fn the_document_and_its_page_are_served_and_the_page_loads_nothing_else() {
    use tower::ServiceExt as _;
    let get = |path: &str| {
        let request = axum::http::Request::get(path).body(axum::body::Body::empty()).expect("a request");
        super::routes().oneshot(request)
    };
    let answer = get("/v1/openapi.json").await.expect("an answer");
    let body = axum::body::to_bytes(answer.into_body(), 1 << 24).await.expect("a body");
    assert_eq!(serde_json::from_slice::<Value>(&body).expect("JSON")["openapi"], "3.1.0");
    let page = get("/docs").await.expect("an answer");
    let policy = page.headers()["content-security-policy"].to_str().expect("a policy").to_owned();
    assert!(policy.starts_with("default-src 'none'; script-src 'self'; connect-src 'self'"), "{policy}");
    let page = axum::body::to_bytes(page.into_body(), 1 << 24).await.expect("a body");
    let page = String::from_utf8_lossy(&page);
    assert!(page.contains(r#"spec-url="/v1/openapi.json""#));
    let loaded: Vec<_> = page.split("src=\"").skip(1).filter_map(|rest| rest.split('"').next()).collect();
    assert_eq!((loaded, page.contains("<link")), (vec!["/docs/redoc.standalone.js"], false));
    assert_eq!(get("/docs/redoc.standalone.js").await.expect("an answer").headers()["content-type"], "text/javascript");
}
