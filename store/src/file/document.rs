//! One YAML file as a tree that knows where everything stands; what it means is decided elsewhere.

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, MessageFormatter as _, Spanned};

use crate::problem::{Path, Step};

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u64,
    pub(super) column: u64,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    /// What the source says: `2.10` is a number, and also a text of four characters.
    written: Option<(usize, usize)>,
    pub(super) value: Value,
}

/// A value as YAML sees it where no type is asked for.
#[derive(Debug)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    Map(Vec<Entry>),
}

/// One entry of a mapping.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) key_place: Place,
    pub(super) node: Node,
}

/// A file's text and tree.
#[derive(Debug)]
pub(super) struct Document {
    /// The file's name.
    pub(super) name: String,
    /// Its text.
    pub(super) source: String,
    /// Its tree.
    pub(super) root: Node,
}

impl Document {
    /// Reads the tree of a text.
    ///
    /// # Errors
    /// Where it is no YAML, with one line that says where.
    pub(super) fn parse(name: &str, mut source: String) -> Result<Self, String> {
        // Some editors begin files with a byte order mark; it is no content, and takes no column.
        if source.starts_with('\u{feff}') {
            source.remove(0);
        }
        let options = serde_saphyr::options! { budget: None, with_snippet: false };
        match serde_saphyr::from_str_with_options(&source, options) {
            Ok(root) => Ok(Self { name: name.to_owned(), source, root }),
            Err(error) => {
                let error = error.without_snippet();
                let message = DefaultMessageFormatter.format_message(error).escape_debug().to_string();
                Err(match error.location().map(Place::from) {
                    Some(Place { line, column }) => format!("{name}:{line}:{column}: {message}"),
                    None => format!("{name}: {message}"),
                })
            }
        }
    }

    /// Where a path ends, or the last of its steps that the file has.
    pub(super) fn place_of(&self, path: &Path) -> Place {
        let mut node = &self.root;
        for step in &path.0 {
            match node.child(step) {
                Some(child) => node = child,
                None => break,
            }
        }
        node.place
    }
}

impl Node {
    /// One step down.
    pub(super) fn child(&self, step: &Step) -> Option<&Self> {
        match (&self.value, step) {
            (Value::List(nodes), Step::Index(index)) => nodes.get(*index),
            (Value::Map(entries), Step::Key(key)) => {
                entries.iter().find(|entry| entry.key == **key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// A scalar as text: a text's own, else the source's.
    pub(super) fn text<'a>(&'a self, source: &'a str) -> Option<&'a str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
            _ => self.written.and_then(|(start, length)| source.get(start..start + length)),
        }
    }
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        Self { line: location.line(), column: location.column() }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<Value>::deserialize(deserializer)?;
        let span = defined.span();
        let index = |at: Option<u64>| at.and_then(|at| usize::try_from(at).ok());
        let written = index(span.byte_offset()).zip(index(span.byte_len()));
        Ok(Self { place: referenced.into(), written, value })
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value::Unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<Value, E> {
        Ok(Value::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(Value::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value()?;
            entries.push(Entry { key: key.value, key_place: key.referenced.into(), node });
        }
        Ok(Value::Map(entries))
    }
}
