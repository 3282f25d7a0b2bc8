//! Bodies onto what is stored.

use proptest::prelude::*;
use serde_json::json;

use super::*;

const KEPT: [KeptField; 3] = [
    KeptField::Optional("n8n_api_key"),
    KeptField::Required("token", "rotate it instead"),
    KeptField::SecretValues("headers"),
];

fn object(value: Value) -> Object {
    match value {
        Value::Object(object) => object,
        other => panic!("{other}"),
    }
}

fn stored() -> Object {
    object(json!({"id": "crm", "name": "CRM", "n8n_api_key": "k", "token": "t",
        "headers": {"x-plain": "p", "x-secret": {"secret": "s"}}}))
}

fn put(body: Value) -> Value {
    replaced(&KEPT, Some(&stored()), object(body)).map(Value::Object).unwrap()
}

fn patch(body: Value) -> Value {
    patched(&KEPT, &stored(), object(body)).map(Value::Object).unwrap()
}

#[test]
fn a_put_keeps_what_is_not_shown_and_drops_what_it_leaves_out() {
    let secret = json!({"x-secret": {"secret": "s"}});
    assert_eq!(put(json!({})), json!({"n8n_api_key": "k", "token": "t", "headers": secret}));
    assert_eq!(put(json!({"name": null}))["name"], json!(null));
    assert_eq!(put(json!({"headers": {"x-new": "n"}}))["headers"], json!({"x-new": "n", "x-secret": {"secret": "s"}}));
}

#[test]
fn null_removes_and_a_value_replaces() {
    assert!(put(json!({"n8n_api_key": null})).get("n8n_api_key").is_none());
    assert_eq!(put(json!({"n8n_api_key": "new"}))["n8n_api_key"], "new");
    assert_eq!(put(json!({"headers": {"x-secret": null}}))["headers"], json!({}));
    assert!(put(json!({"headers": null})).get("headers").is_none());
    assert_eq!(put(json!({"headers": {"X-Secret": {"secret": "n"}}}))["headers"], json!({"X-Secret": {"secret": "n"}}));
    assert!(patch(json!({"n8n_api_key": null})).get("n8n_api_key").is_none());
}

#[test]
fn what_there_must_be_cannot_be_removed() {
    let refused = NotRemovable { field: "token", message: "rotate it instead" };
    let body = object(json!({"token": null}));
    assert_eq!(replaced(&KEPT, Some(&stored()), body.clone()), Err(refused.clone()));
    assert_eq!(patched(&KEPT, &stored(), body), Err(refused));
}

#[test]
fn a_patch_changes_what_it_names() {
    assert_eq!(patch(json!({})), Value::Object(stored()));
    let patched = patch(json!({"headers": {"x-plain": null, "X-SECRET": {"secret": "n"}}, "retry": {"max_age": "1h"}}));
    assert_eq!(patched["headers"], json!({"X-SECRET": {"secret": "n"}}));
    assert_eq!((&patched["retry"], &patched["token"]), (&json!({"max_age": "1h"}), &json!("t")));
}

/// The examples of RFC 7396, appendix A, of which target and patch are objects.
#[test]
fn a_patch_does_what_rfc_7396_says() {
    let table = [
        (json!({"a": "b"}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "b"}), json!({"b": "c"}), json!({"a": "b", "b": "c"})),
        (json!({"a": "b"}), json!({"a": null}), json!({})),
        (json!({"a": "b", "b": "c"}), json!({"a": null}), json!({"b": "c"})),
        (json!({"a": ["b"]}), json!({"a": "c"}), json!({"a": "c"})),
        (json!({"a": "c"}), json!({"a": ["b"]}), json!({"a": ["b"]})),
        (json!({"a": {"b": "c"}}), json!({"a": {"b": "d", "c": null}}), json!({"a": {"b": "d"}})),
        (json!({"a": [{"b": "c"}]}), json!({"a": [1]}), json!({"a": [1]})),
        (json!({"e": null}), json!({"a": 1}), json!({"e": null, "a": 1})),
        (json!({}), json!({"a": {"bb": {"ccc": null}}}), json!({"a": {"bb": {}}})),
    ];
    for (target, patch, expected) in table {
        assert_eq!(patched(&[], &object(target), object(patch)).map(Value::Object), Ok(expected));
    }
}

fn values() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![Just(Value::Null), any::<bool>().prop_map(Value::from), "[a-c]{0,2}".prop_map(Value::from)];
    leaf.prop_recursive(3, 12, 3, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..3).prop_map(Value::from),
            prop::collection::btree_map("[a-d]", inner, 0..3).prop_map(|map| Value::Object(map.into_iter().collect())),
        ]
    })
}

fn objects() -> impl Strategy<Value = Object> {
    prop::collection::btree_map("[a-d]|headers|token|n8n_api_key", values(), 0..6)
        .prop_map(|map| map.into_iter().collect())
}

/// Stored things have no nulls and, where there must be a token, one.
fn stored_objects() -> impl Strategy<Value = Object> {
    objects().prop_map(|mut object| {
        object.retain(|_, value| !value.is_null());
        object.insert("token".to_owned(), "t".into());
        object
    })
}

proptest! {
    #[test]
    fn the_same_again_changes_nothing(stored in stored_objects(), body in objects()) {
        if let Ok(once) = replaced(&KEPT, Some(&stored), body.clone()) {
            prop_assert_eq!(replaced(&KEPT, Some(&once), body.clone()), Ok(once));
        }
        if let Ok(once) = patched(&KEPT, &stored, body.clone()) {
            prop_assert_eq!(patched(&KEPT, &once, body), Ok(once));
        }
    }

    #[test]
    fn what_is_not_mentioned_is_kept(stored in stored_objects(), body in objects()) {
        for name in ["token", "n8n_api_key"].into_iter().filter(|name| !body.contains_key(*name)) {
            let merged = [replaced(&KEPT, Some(&stored), body.clone()), patched(&KEPT, &stored, body.clone())];
            for merged in merged.into_iter().flatten() {
                prop_assert_eq!(merged.get(name), stored.get(name));
            }
        }
    }

    #[test]
    fn an_empty_patch_is_no_change(stored in stored_objects()) {
        prop_assert_eq!(patched(&KEPT, &stored, Object::new()), Ok(stored));
    }
}
