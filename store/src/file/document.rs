//! One YAML file as a tree that knows where everything stands; what it means is decided elsewhere.

use std::cell::OnceCell;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter as _, NonFiniteFloatPolicy, Spanned};

use crate::problem::{Path, Step};

/// Line and column, from 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) line: u32,
    pub(super) column: u32,
}

/// A value and where it stands.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) place: Place,
    /// What the source says: `2.10` is a number, and also a text of four characters.
    written: Option<(u32, u32)>,
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

/// A file's text. Its tree takes thirty times the room and is made where it is needed.
#[derive(Debug)]
pub(super) struct Document {
    /// The file's name.
    pub(super) name: String,
    /// Its text.
    pub(super) source: String,
    /// The tree, once somebody asked where something stands.
    root: OnceCell<Option<Node>>,
}

impl Document {
    /// A file of this name and text.
    pub(super) fn new(name: String, mut source: String) -> Self {
        // Some editors begin files with a byte order mark; it is no content, and takes no column.
        if source.starts_with('\u{feff}') {
            source.remove(0);
        }
        Self { name, source, root: OnceCell::new() }
    }

    /// Reads the tree.
    ///
    /// # Errors
    /// Where the text is no YAML, with one line that says where.
    pub(super) fn parse(&self) -> Result<Node, String> {
        // The operator's own file: no size would be wrong. Depth stays bounded, it is the stack's.
        let budget = serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_aliases: usize::MAX,
            max_anchors: usize::MAX,
            max_merge_keys: usize::MAX,
            enforce_alias_anchor_ratio: false,
        };
        // `12e4567` may be a token.
        let non_finite_float_policy = NonFiniteFloatPolicy::PassThrough;
        let options = serde_saphyr::options! {
            budget: budget,
            with_snippet: false,
            non_finite_float_policy: non_finite_float_policy,
        };
        serde_saphyr::from_str_with_options(&self.source, options).map_err(|error| {
            let error = error.without_snippet();
            let message = match error {
                Error::MultipleDocuments { .. } => {
                    "begins a second document: a file has one, with one `tenants`".into()
                }
                other => DefaultMessageFormatter.format_message(other).replace(char::is_control, " "),
            };
            match error.location().map(Place::from) {
                Some(Place { line, column }) => format!("{}:{line}:{column}: {message}", self.name),
                None => format!("{}: {message}", self.name),
            }
        })
    }

    /// The node at a path.
    pub(super) fn node(&self, path: &[Step]) -> Option<&Node> {
        path.iter().try_fold(self.root()?, |node, step| node.child(step))
    }

    /// Where a path ends, or the last of its steps that the file has.
    pub(super) fn place_of(&self, path: &Path) -> Place {
        let longest = (0..=path.0.len()).rev().find_map(|length| self.node(&path.0[..length]));
        longest.map_or(Place::default(), |node| node.place)
    }

    /// All of it.
    pub(super) fn root(&self) -> Option<&Node> {
        self.root.get_or_init(|| self.parse().ok()).as_ref()
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

    /// Whether a value is all that is written: false for a number in other than its usual notation.
    pub(super) fn is_plain(&self, source: &str) -> bool {
        let usual = match &self.value {
            Value::Signed(number) => number.to_string(),
            Value::Unsigned(number) => number.to_string(),
            Value::Float(number) => number.to_string(),
            _ => return true,
        };
        self.text(source).is_none_or(|text| text == usual)
    }

    /// A scalar as text: a text's own, else the source's.
    pub(super) fn text<'a>(&'a self, source: &'a str) -> Option<&'a str> {
        match &self.value {
            Value::Text(text) => Some(text),
            Value::Null | Value::List(_) | Value::Map(_) => None,
            _ => self.written(source),
        }
    }

    /// Whether a word stands there, and not nothing: for `null`, which YAML takes for either.
    pub(super) fn says(&self, word: &str, source: &str) -> bool {
        self.written(source) == Some(word)
    }

    fn written<'a>(&self, source: &'a str) -> Option<&'a str> {
        let (start, length) = self.written?;
        source.get(start as usize..)?.get(..length as usize)
    }
}

impl From<serde_saphyr::Location> for Place {
    fn from(location: serde_saphyr::Location) -> Self {
        let number = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { line: number(location.line()), column: number(location.column()) }
    }
}

impl<'de> Deserialize<'de> for Node {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<Value>::deserialize(deserializer)?;
        let span = defined.span();
        let index = |at: Option<u64>| at.and_then(|at| u32::try_from(at).ok());
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
