//! A body onto what is stored: replaced (`PUT`) or patched (RFC 7396), with the fields that are not shown, or that
//! carteiro changes itself, kept where the body does not speak of them.

use serde_json::{Map, Value};

/// A JSON object.
pub(crate) type Object = Map<String, Value>;

/// A field that a replacement keeps where it leaves it out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Field {
    /// One value; null removes it.
    One(&'static str),
    /// One value that there must be: null is refused.
    Needed(&'static str, &'static str),
    /// An object of which the values `{"secret": …}` are kept, each by its name; names have no case.
    SecretValues(&'static str),
}

/// Why a field cannot be removed, and which.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct NotRemovable {
    /// Which.
    pub(crate) field: &'static str,
    /// What to do instead.
    pub(crate) message: &'static str,
}

/// What a `PUT` makes of what is stored, secrets revealed. A field that is null is one that is left out, but for those
/// of `kept`, which it removes.
pub(crate) fn replaced(kept: &[Field], stored: Option<&Object>, body: Object) -> Result<Object, NotRemovable> {
    let mut new = body;
    for field in kept {
        match *field {
            Field::One(name) => keep(name, stored, &mut new),
            Field::Needed(name, message) if new.get(name).is_some_and(Value::is_null) => {
                return Err(NotRemovable { field: name, message });
            }
            Field::Needed(name, _) => keep(name, stored, &mut new),
            Field::SecretValues(name) => keep_secret_values(name, stored, &mut new),
        }
    }
    new.retain(|_, value| !value.is_null());
    Ok(new)
}

/// What a `PATCH` makes of what is stored, secrets revealed: RFC 7396.
pub(crate) fn patched(kept: &[Field], stored: &Object, body: Object) -> Result<Object, NotRemovable> {
    let mut new = stored.clone();
    for field in kept {
        match *field {
            Field::Needed(name, message) if body.get(name).is_some_and(Value::is_null) => {
                return Err(NotRemovable { field: name, message });
            }
            Field::SecretValues(name) => forget_other_spellings(name, &mut new, &body),
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

/// `X-Key` in a patch means the stored `x-key`.
fn forget_other_spellings(name: &str, new: &mut Object, body: &Object) {
    let (Some(Value::Object(stored)), Some(Value::Object(given))) = (new.get_mut(name), body.get(name)) else { return };
    stored.retain(|key, _| given.contains_key(key) || !given.keys().any(|given| given.eq_ignore_ascii_case(key)));
}

/// RFC 7396, 2.
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

#[cfg(test)]
mod tests;
