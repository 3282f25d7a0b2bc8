//! Merges the body of a `PUT` or `PATCH` (RFC 7396) with the stored resource. Fields that callers are not shown, and
//! fields that carteiro changes by itself, are kept when the body leaves them out.

use schemas::pointer;
use serde_json::{Map, Value};
use service::suggest::suggestion;

pub(crate) type Object = Map<String, Value>;

/// A field that a replacement keeps when it leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KeptField {
    /// A value that null removes.
    Optional(&'static str),
    /// A value that cannot be removed, and what to do instead. Null is refused.
    Required(&'static str, &'static str),
    /// An object in which each value `{"secret": …}` is kept under its name. Names are compared without regard to case.
    SecretValues(&'static str),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotRemovable {
    pub(crate) field: &'static str,
    /// Says what to do instead of removing the field.
    pub(crate) message: &'static str,
}

/// Replaces the stored resource, secrets included, as a `PUT` does. A field that is null counts as left out, except
/// that null removes a field of `kept`.
pub(crate) fn replaced(kept: &[KeptField], stored: Option<&Object>, body: Object) -> Result<Object, NotRemovable> {
    let mut new = body;
    for field in kept {
        match *field {
            KeptField::Optional(name) => keep(name, stored, &mut new),
            KeptField::Required(name, message) if new.get(name).is_some_and(Value::is_null) => {
                return Err(NotRemovable { field: name, message });
            }
            KeptField::Required(name, _) => keep(name, stored, &mut new),
            KeptField::SecretValues(name) => keep_secret_values(name, stored, &mut new),
        }
    }
    new.retain(|_, value| !value.is_null());
    Ok(new)
}

/// Patches the stored resource, secrets included, as RFC 7396 says.
pub(crate) fn patched(kept: &[KeptField], stored: &Object, body: Object) -> Result<Object, NotRemovable> {
    let mut new = stored.clone();
    for field in kept {
        match *field {
            KeptField::Required(name, message) if body.get(name).is_some_and(Value::is_null) => {
                return Err(NotRemovable { field: name, message });
            }
            KeptField::SecretValues(name) => forget_other_spellings(name, &mut new, &body),
            _ => {}
        }
    }
    merge(&mut new, body);
    Ok(new)
}

fn keep(name: &str, stored: Option<&Object>, new: &mut Object) {
    if let (false, Some(value)) = (new.contains_key(name), stored.and_then(|stored| stored.get(name))) {
        new.insert(name.to_owned(), value.clone());
    }
}

fn keep_secret_values(name: &str, stored: Option<&Object>, new: &mut Object) {
    let old = stored.and_then(|stored| stored.get(name)).and_then(Value::as_object);
    let given = match new.get_mut(name) {
        Some(Value::Object(given)) => given,
        Some(_) => return,
        None if old.is_none() => return,
        None => match new.entry(name).or_insert_with(|| Value::Object(Object::new())) {
            Value::Object(given) => given,
            _ => return,
        },
    };
    for (key, value) in old.into_iter().flatten().filter(|(_, value)| value.is_object()) {
        if !given.keys().any(|known| known.eq_ignore_ascii_case(key)) {
            given.insert(key.clone(), value.clone());
        }
    }
    given.retain(|_, value| !value.is_null());
}

/// Removes stored names that the patch spells in another case: `X-Key` in a patch means the stored `x-key`.
fn forget_other_spellings(name: &str, new: &mut Object, body: &Object) {
    let (Some(Value::Object(stored)), Some(Value::Object(given))) = (new.get_mut(name), body.get(name)) else { return };
    stored.retain(|key, _| given.contains_key(key) || !given.keys().any(|given| given.eq_ignore_ascii_case(key)));
}

/// Merges as RFC 7396, section 2, says.
fn merge(target: &mut Object, patch: Object) {
    for (key, value) in patch {
        match value {
            Value::Null => _ = target.shift_remove(&key),
            Value::Object(patch) => {
                let below = target.entry(key).or_insert(Value::Null);
                if !below.is_object() {
                    *below = Value::Object(Object::new());
                }
                if let Value::Object(below) = below {
                    merge(below, patch);
                }
            }
            value => _ = target.insert(key, value),
        }
    }
}

/// Returns the first null in a body that is for no field of its schema, as a pointer and what is wrong.
pub(crate) fn unknown_null(schema: &Value, body: &Object) -> Option<(String, String)> {
    let fields = fields_of(schema)?;
    body.iter().find_map(|(name, value)| match (fields.get(name), value) {
        (None, Value::Null) => {
            let known: Vec<_> = fields.keys().map(String::as_str).collect();
            Some((pointer::to_member(name), format!("unknown key, {}", suggestion(name, &known))))
        }
        (Some(field), Value::Object(below)) => {
            let (pointer, message) = unknown_null(field, below)?;
            Some((pointer::to_member(name) + &pointer, message))
        }
        _ => None,
    })
}

/// Returns the fields of an object that allows no others, or that is one of several alternatives.
fn fields_of(schema: &Value) -> Option<&Object> {
    let alternatives =
        ["anyOf", "oneOf", "allOf"].into_iter().filter_map(|word| schema.get(word)?.as_array()).flatten();
    let object = std::iter::once(schema).chain(alternatives).find(|schema| schema["additionalProperties"] == false)?;
    object.get("properties")?.as_object()
}

#[cfg(test)]
mod tests;
