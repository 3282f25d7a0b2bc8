//! A serde deserializer from JSON to typed values. Its errors have a path and repeat no value, which may be a secret.

use serde::de::{
    DeserializeOwned, DeserializeSeed, Deserializer, Error as _, IntoDeserializer, MapAccess, SeqAccess, Unexpected,
    Visitor, value::StrDeserializer,
};
use serde::forward_to_deserialize_any;
use serde_json::Value;

use crate::{
    decode_error::DecodeError,
    invalid_field::{FieldPath, InvalidField, PathSegment},
};

/// Decodes a value as `T`.
///
/// # Errors
/// The first field that does not fit.
pub fn read_json<T: DeserializeOwned>(value: &Value) -> Result<T, InvalidField> {
    T::deserialize(JsonDeserializer(value)).map_err(|fault| {
        let FieldPath(mut steps) = fault.path();
        let message = match fault.missing {
            Some(key) => {
                steps.push(PathSegment::Key(key.into()));
                "is required".to_owned()
            }
            None => fault.message,
        };
        InvalidField { path: FieldPath(steps), message, other: None }
    })
}

#[derive(Clone, Copy)]
struct JsonDeserializer<'a>(&'a Value);

impl<'de> Deserializer<'de> for JsonDeserializer<'de> {
    type Error = DecodeError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => match (number.as_u64(), number.as_i64()) {
                (Some(number), _) => visitor.visit_u64(number),
                (None, Some(number)) => visitor.visit_i64(number),
                (None, None) => visitor.visit_f64(number.as_f64().unwrap_or(f64::NAN)),
            },
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visitor.visit_seq(JsonItems(items.iter().enumerate())),
            Value::Object(fields) => visitor.visit_map(JsonFields { fields: fields.iter(), current: None }),
        }
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, DecodeError> {
        if self.0.is_null() { visitor.visit_none() } else { visitor.visit_some(self) }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::String(word) => visitor.visit_enum(word.as_str().into_deserializer()),
            _ => Err(DecodeError::new("expected one word")),
        }
    }

    /// Refuses a list: serde alone would take one for a struct, and read its fields by their positions.
    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, DecodeError> {
        match self.0 {
            Value::Array(_) => Err(DecodeError::invalid_type(Unexpected::Seq, &visitor)),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, DecodeError> {
        visitor.visit_newtype_struct(self)
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf
        unit unit_struct seq tuple tuple_struct map identifier ignored_any
    }
}

struct JsonItems<'a>(std::iter::Enumerate<std::slice::Iter<'a, Value>>);

impl<'de> SeqAccess<'de> for JsonItems<'de> {
    type Error = DecodeError;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, DecodeError> {
        let Some((index, item)) = self.0.next() else { return Ok(None) };
        seed.deserialize(JsonDeserializer(item)).map(Some).map_err(|fault| fault.under(PathSegment::Index(index)))
    }
}

struct JsonFields<'a> {
    fields: serde_json::map::Iter<'a>,
    /// The field whose key was read, and whose value is next.
    current: Option<(&'a String, &'a Value)>,
}

impl<'de> MapAccess<'de> for JsonFields<'de> {
    type Error = DecodeError;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, DecodeError> {
        self.current = self.fields.next();
        let Some((key, _)) = self.current else { return Ok(None) };
        let read = seed.deserialize(StrDeserializer::<DecodeError>::new(key));
        read.map(Some).map_err(|fault| fault.under(PathSegment::Key(key.clone().into())))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, DecodeError> {
        let (key, value) = self.current.take().ok_or_else(|| DecodeError::new("has a value without a key"))?;
        seed.deserialize(JsonDeserializer(value)).map_err(|fault| fault.under(PathSegment::Key(key.clone().into())))
    }
}

#[cfg(test)]
mod tests {
    use schemas::Endpoint;
    use serde_json::json;

    use super::*;

    fn refused(value: &Value) -> (String, String) {
        let problem = read_json::<Endpoint>(value).unwrap_err();
        (problem.path.pointer(), problem.message)
    }

    #[test]
    fn a_value_that_does_not_fit_is_reported_with_its_place_and_never_repeated() {
        let with = |key: &str, value: Value| {
            let mut whole = json!({"id": "crm", "url": "https://crm.example/"});
            whole[key] = value;
            refused(&whole)
        };
        let table = [
            (refused(&json!({"id": "crm"})), "/url", "is required"),
            (refused(&json!([])), "", "expected keys and values, found a list"),
            (with("url", json!(7)), "/url", "expected a text, found a whole number"),
            (with("urll", json!("S3CRET")), "/urll", "unknown key, did you mean url?"),
            (with("format", json!("whazin")), "/format", "unknown word `whazin`, did you mean whazing?"),
            (
                with("secrets", json!([[1]])),
                "/secrets/0",
                "expected a text, or {secret: text, until: time}, found a list",
            ),
            (with("secrets", json!(["S3CRET", {"secret": "S3CRET"}])), "/secrets/1/until", "is required"),
            (with("headers", json!({"x-a": 5})), "/headers/x-a", "expected a text, or {secret: text}"),
            (with("retry", json!({"max_age": 5})), "/retry/max_age", "expected a text, found a whole number"),
            (with("max_in_flight", json!(-1)), "/max_in_flight", "expected a whole number, 0 or more"),
        ];
        for (found, pointer, message) in table {
            assert_eq!((found.0.as_str(), found.1.as_str()), (pointer, message));
            assert!(!found.1.contains("S3CRET"), "{found:?}");
        }
    }

    #[test]
    fn a_value_that_fits_is_read_as_serde_json_reads_it() {
        let value = json!({"id": "crm", "url": "https://crm.example/", "headers": {"x": {"secret": "s"}},
            "retry": {"schedule": ["5s"]}, "rate_limit": {"per_second": 5}, "name": null});
        let read: Endpoint = read_json(&value).unwrap();
        assert_eq!(read, serde_json::from_value::<Endpoint>(value).unwrap());
    }
}
