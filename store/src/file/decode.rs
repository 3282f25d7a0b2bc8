//! A serde deserializer from the YAML tree to typed values. Its errors have positions and repeat no value.
//!
//! The types are the schema: where a type asks for a text, `id: 7` and `shape: 2.15` are texts.

use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor, value::StrDeserializer};
use serde::forward_to_deserialize_any;

use super::document::{MapEntry, YamlNode, YamlValue};
use crate::{decode_error::DecodeError, invalid_field::PathSegment};

#[derive(Clone, Copy)]
pub(super) struct YamlDeserializer<'a> {
    pub(super) node: &'a YamlNode,
    pub(super) source: &'a str,
    /// Keys of this mapping that are skipped, because they are read separately.
    pub(super) hidden: &'static [&'static str],
    /// Keys of this mapping with the text that is assumed when they are left out.
    pub(super) assumed: &'static [(&'static str, &'static str)],
}

impl<'a> YamlDeserializer<'a> {
    pub(super) fn of(node: &'a YamlNode, source: &'a str) -> Self {
        Self { node, source, hidden: &[], assumed: &[] }
    }

    fn typed<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.any(visitor).map_err(|fault| fault.at(self.node.place))
    }

    fn any<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match &self.node.value {
            YamlValue::Null => visitor.visit_unit(),
            YamlValue::Bool(value) => visitor.visit_bool(*value),
            YamlValue::Signed(value) => visitor.visit_i64(*value),
            YamlValue::Unsigned(value) => visitor.visit_u64(*value),
            YamlValue::Float(value) => visitor.visit_f64(*value),
            YamlValue::Text(value) => visitor.visit_borrowed_str(value),
            YamlValue::List(nodes) => {
                visitor.visit_seq(YamlItems { nodes: nodes.iter().enumerate(), source: self.source })
            }
            YamlValue::Map(entries) => {
                let is_written = |key: &str| entries.iter().any(|entry| entry.key == key);
                let assumed = self.assumed.iter().filter(|(key, _)| !is_written(key)).collect();
                visitor.visit_map(YamlEntries { entries: entries.iter(), current: None, assumed, reading: self })
            }
        }
    }

    fn text<V: Visitor<'a>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.text(self.source) {
            Some(text) => visitor.visit_borrowed_str(text),
            None => self.any(visitor),
        }
    }
}

/// Declares methods for numbers, which are read in any notation.
macro_rules! typed {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
            self.typed(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for YamlDeserializer<'de> {
    type Error = DecodeError;

    /// Serves types that take a number or a text. `7` is a number, but `007`, `+7` and integers that are too large are
    /// texts, because a number would change them.
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.node.is_plain(self.source) { self.typed(visitor) } else { self.deserialize_str(visitor) }
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.text(visitor).map_err(|fault| fault.at(self.node.place))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        self.deserialize_str(visitor)
    }

    /// Refuses a key without a value: `channel_ids:` above a commented-out list would otherwise mean "any".
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.node.value {
            YamlValue::Null => {
                Err(DecodeError::new("has no value: write one, or leave the key out").at(self.node.place))
            }
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        words: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        // In `webhook_echo: null`, the written `null` is one of the words.
        let null = || words.iter().copied().find(|&word| word == "null" && self.node.says(word, self.source));
        let read = match self.node.text(self.source).or_else(null) {
            Some(text) => visitor.visit_enum(StrDeserializer::<DecodeError>::new(text)),
            None => Err(DecodeError::new("expected one word")),
        };
        read.map_err(|fault| fault.at(self.node.place))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self).map_err(|fault| fault.at(self.node.place))
    }

    typed! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    forward_to_deserialize_any! {
        bool char bytes byte_buf unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct YamlItems<'a> {
    nodes: std::iter::Enumerate<std::slice::Iter<'a, YamlNode>>,
    source: &'a str,
}

impl<'de> SeqAccess<'de> for YamlItems<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, node)) = self.nodes.next() else { return Ok(None) };
        let read = seed.deserialize(YamlDeserializer::of(node, self.source));
        read.map(Some).map_err(|fault| fault.at(node.place).under(PathSegment::Index(index)))
    }
}

struct YamlEntries<'a> {
    entries: std::slice::Iter<'a, MapEntry>,
    /// The entry whose key was read, and whose value is next.
    current: Option<&'a MapEntry>,
    /// Assumed entries that are still to be read, the next one last.
    assumed: Vec<&'static (&'static str, &'static str)>,
    reading: YamlDeserializer<'a>,
}

impl<'de> MapAccess<'de> for YamlEntries<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        let hidden = self.reading.hidden;
        self.current = self.entries.find(|entry| !hidden.contains(&entry.key.as_str()));
        let Some(entry) = self.current else {
            let assumed = self.assumed.last();
            return assumed.map(|(key, _)| seed.deserialize(StrDeserializer::new(key))).transpose();
        };
        let read = seed.deserialize(StrDeserializer::new(&entry.key));
        read.map(Some)
            .map_err(|fault: DecodeError| fault.at(entry.key_place).under(PathSegment::Key(entry.key.clone().into())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let Some(entry) = self.current.take() else {
            let (_, text) = self.assumed.pop().ok_or_else(|| DecodeError::new("has a value without a key"))?;
            return seed.deserialize(Assumed(text));
        };
        let read = seed.deserialize(YamlDeserializer::of(&entry.node, self.reading.source));
        read.map_err(|fault| fault.at(entry.node.place).under(PathSegment::Key(entry.key.clone().into())))
    }
}

struct Assumed(&'static str);

impl<'de> Deserializer<'de> for Assumed {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_borrowed_str(self.0)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit unit_struct seq
        tuple tuple_struct map struct enum identifier ignored_any
    }
}
