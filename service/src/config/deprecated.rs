//! Keys that no longer exist. For one version they are taken with a warning: the value of a renamed key is used under
//! its new name, that of a removed key is ignored.

use std::fmt;

use figment::{
    util,
    value::{Dict, Value},
};

/// A key that no longer exists, and its successor.
#[derive(Clone, Copy)]
pub(super) struct OldKey {
    pub(super) key: &'static str,
    pub(super) successor: Option<&'static str>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Deprecation {
    pub key: &'static str,
    /// The key that takes the value. None when the value is ignored.
    pub successor: Option<&'static str>,
    /// Source of the value: a file's path, a variable's name, or the command line.
    pub origin: String,
}

impl OldKey {
    pub(super) fn used_in(self, origin: &str) -> Deprecation {
        Deprecation { key: self.key, successor: self.successor, origin: origin.to_owned() }
    }

    /// Removes this key from `values` and gives its value to the successor, unless that has one. True when the key was
    /// there.
    pub(super) fn take_from(self, values: &mut Dict) -> bool {
        let Some(value) = remove(values, self.key) else { return false };
        if let Some(successor) = self.successor {
            insert(values, successor, value);
        }
        true
    }
}

impl fmt::Display for Deprecation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, successor, origin } = self;
        match successor {
            Some(successor) => write!(f, "{key} is now {successor}, which takes its value (in {origin})"),
            None => write!(f, "{key} no longer exists and is ignored (in {origin})"),
        }
    }
}

fn remove(values: &mut Dict, key: &str) -> Option<Value> {
    match key.split_once('.') {
        None => values.remove(key),
        Some((section, rest)) => match values.get_mut(section)? {
            Value::Dict(_, below) => remove(below, rest),
            _ => None,
        },
    }
}

fn insert(values: &mut Dict, key: &str, value: Value) {
    let Some((section, rest)) = key.split_once('.') else {
        values.entry(key.to_owned()).or_insert(value);
        return;
    };
    match values.get_mut(section) {
        Some(Value::Dict(_, below)) => insert(below, rest, value),
        Some(_) => {}
        None => _ = values.insert(section.to_owned(), util::nest(rest, value)),
    }
}
