//! One YAML file as a tree of values with their positions. It knows nothing about their meaning.

use std::cell::OnceCell;

use serde::de::{self, Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DefaultMessageFormatter, Error, MessageFormatter as _, NonFiniteFloatPolicy, Spanned};

use crate::decode_error::Position;
use crate::invalid_field::{FieldPath, PathSegment};

#[derive(Debug)]
pub(super) struct YamlNode {
    pub(super) place: Position,
    /// Byte range of a scalar in the source: `2.10` is a number, and also a text of four characters.
    written: Option<(u32, u32)>,
    pub(super) value: YamlValue,
}

/// A value as YAML reads it when no type is known.
#[derive(Debug)]
pub(super) enum YamlValue {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Float(f64),
    Text(String),
    List(Vec<YamlNode>),
    Map(Vec<MapEntry>),
}

#[derive(Debug)]
pub(super) struct MapEntry {
    pub(super) key: String,
    pub(super) key_place: Position,
    pub(super) node: YamlNode,
}

/// A file. Its tree takes thirty times the memory of its text, and is only made when it is needed.
#[derive(Debug)]
pub(super) struct YamlDocument {
    pub(super) name: String,
    pub(super) source: String,
    root: OnceCell<Option<YamlNode>>,
}

impl YamlDocument {
    pub(super) fn new(name: String, mut source: String) -> Self {
        // Some editors begin files with a byte order mark, which is no content and takes no column.
        if source.starts_with('\u{feff}') {
            source.remove(0);
        }
        Self { name, source, root: OnceCell::new() }
    }

    /// Parses the text.
    ///
    /// # Errors
    /// The text is not YAML. The error is one line with the position.
    pub(super) fn parse(&self) -> Result<YamlNode, String> {
        // The operator's own file may have any size. Its depth is bounded, because the stack is.
        let budget = serde_saphyr::budget! {
            max_events: usize::MAX,
            max_nodes: usize::MAX,
            max_total_scalar_bytes: usize::MAX,
            max_aliases: usize::MAX,
            max_anchors: usize::MAX,
            max_merge_keys: usize::MAX,
            enforce_alias_anchor_ratio: false,
        };
        // `12e4567` is read as infinity, but may be a token.
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
            match error.location().map(Position::from) {
                Some(Position { line, column }) => format!("{}:{line}:{column}: {message}", self.name),
                None => format!("{}: {message}", self.name),
            }
        })
    }

    pub(super) fn node(&self, path: &[PathSegment]) -> Option<&YamlNode> {
        path.iter().try_fold(self.root()?, |node, step| node.child(step))
    }

    /// Returns the position of the node at a path, or of its nearest ancestor in the file.
    pub(super) fn position_of(&self, path: &FieldPath) -> Position {
        let longest = (0..=path.0.len()).rev().find_map(|length| self.node(&path.0[..length]));
        longest.map_or(Position::default(), |node| node.place)
    }

    pub(super) fn root(&self) -> Option<&YamlNode> {
        self.root.get_or_init(|| self.parse().ok()).as_ref()
    }
}

impl YamlNode {
    pub(super) fn child(&self, step: &PathSegment) -> Option<&Self> {
        match (&self.value, step) {
            (YamlValue::List(nodes), PathSegment::Index(index)) => nodes.get(*index),
            (YamlValue::Map(entries), PathSegment::Key(key)) => {
                entries.iter().find(|entry| entry.key == **key).map(|entry| &entry.node)
            }
            _ => None,
        }
    }

    /// False for a number in a notation that its value would lose.
    pub(super) fn is_plain(&self, source: &str) -> bool {
        let usual = match &self.value {
            YamlValue::Signed(number) => number.to_string(),
            YamlValue::Unsigned(number) => number.to_string(),
            YamlValue::Float(number) => number.to_string(),
            _ => return true,
        };
        self.text(source).is_none_or(|text| text == usual)
    }

    /// Returns a scalar as text: a number or word as it is written.
    pub(super) fn text<'a>(&'a self, source: &'a str) -> Option<&'a str> {
        match &self.value {
            YamlValue::Text(text) => Some(text),
            YamlValue::Null | YamlValue::List(_) | YamlValue::Map(_) => None,
            _ => self.written(source),
        }
    }

    /// True when exactly this word is written, which tells a written `null` from a key without a value.
    pub(super) fn says(&self, word: &str, source: &str) -> bool {
        self.written(source) == Some(word)
    }

    fn written<'a>(&self, source: &'a str) -> Option<&'a str> {
        let (start, length) = self.written?;
        source.get(start as usize..)?.get(..length as usize)
    }
}

impl From<serde_saphyr::Location> for Position {
    fn from(location: serde_saphyr::Location) -> Self {
        let number = |at| u32::try_from(at).unwrap_or(u32::MAX);
        Self { line: number(location.line()), column: number(location.column()) }
    }
}

impl<'de> Deserialize<'de> for YamlNode {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Spanned { value, referenced, defined } = Spanned::<YamlValue>::deserialize(deserializer)?;
        let span = defined.span();
        let index = |at: Option<u64>| at.and_then(|at| u32::try_from(at).ok());
        let written = index(span.byte_offset()).zip(index(span.byte_len()));
        Ok(Self { place: referenced.into(), written, value })
    }
}

impl<'de> Deserialize<'de> for YamlValue {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = YamlValue;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<YamlValue, E> {
        Ok(YamlValue::Null)
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> Result<YamlValue, E> {
        Ok(YamlValue::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> Result<YamlValue, E> {
        Ok(YamlValue::Signed(value))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> Result<YamlValue, E> {
        Ok(YamlValue::Unsigned(value))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> Result<YamlValue, E> {
        Ok(YamlValue::Float(value))
    }

    fn visit_str<E: de::Error>(self, value: &str) -> Result<YamlValue, E> {
        Ok(YamlValue::Text(value.to_owned()))
    }

    fn visit_string<E: de::Error>(self, value: String) -> Result<YamlValue, E> {
        Ok(YamlValue::Text(value))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<YamlValue, A::Error> {
        let mut nodes = Vec::new();
        while let Some(node) = seq.next_element()? {
            nodes.push(node);
        }
        Ok(YamlValue::List(nodes))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<YamlValue, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = map.next_key::<Spanned<String>>()? {
            let node = map.next_value()?;
            entries.push(MapEntry { key: key.value, key_place: key.referenced.into(), node });
        }
        Ok(YamlValue::Map(entries))
    }
}
