//! What a key holds, so that text from the environment and the command line becomes it.

use std::str::FromStr;

use figment::providers::{Format, Toml};
use figment::value::{Dict, Value};

/// What a key holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Text, whatever it looks like: `12345` stays text.
    Text,
    /// A whole number.
    Whole,
    /// A number that may have a fraction.
    Number,
    /// `true` or `false`.
    Truth,
    /// A list of texts: `["a","b"]` or `a,b`.
    Texts,
    /// A list of numbers, written in the same two ways.
    Numbers,
    /// Free names below this key, each with a text.
    Map,
}

impl Shape {
    /// The shape of a default.
    pub(super) fn of(value: &Value) -> Self {
        match value {
            Value::String(..) | Value::Char(..) | Value::Empty(..) => Shape::Text,
            Value::Bool(..) => Shape::Truth,
            Value::Num(_, number) if number.to_f64().is_some() => Shape::Number,
            Value::Num(..) => Shape::Whole,
            Value::Dict(..) => Shape::Map,
            Value::Array(_, items) if matches!(items.first(), Some(Value::Num(..))) => Shape::Numbers,
            Value::Array(..) => Shape::Texts,
        }
    }

    /// Makes `text` into a value of this shape; the error says what was expected.
    pub(super) fn read(self, text: &str) -> Result<Value, String> {
        match self {
            Shape::Text => Ok(text.into()),
            Shape::Whole => number::<i64>(text, "a whole number").map(Into::into),
            Shape::Number => number::<f64>(text, "a number").map(Into::into),
            Shape::Truth => number::<bool>(text, "true or false").map(Into::into),
            Shape::Texts => list(text).map(Into::into),
            Shape::Numbers => {
                let items = list(text)?;
                items.iter().map(|item| whole_or_number(item)).collect::<Result<Vec<_>, _>>().map(Into::into)
            }
            Shape::Map => Err("expected names below this key, each with a text".to_owned()),
        }
    }
}

fn number<T: FromStr>(text: &str, expected: &str) -> Result<T, String> {
    text.trim().parse().map_err(|_| format!("expected {expected}, found `{text}`"))
}

/// Whole numbers stay whole: a list of them may be one of ports.
fn whole_or_number(text: &str) -> Result<Value, String> {
    number::<i64>(text, "").map(Into::into).or_else(|_| number::<f64>(text, "a number").map(Into::into))
}

/// The texts of `["a","b"]` or `a,b`. Numbers in brackets become texts again, as the shape wants.
fn list(text: &str) -> Result<Vec<String>, String> {
    let text = text.trim();
    if !text.starts_with('[') {
        return Ok(text.split(',').map(str::trim).filter(|item| !item.is_empty()).map(str::to_owned).collect());
    }
    let bad = || r#"expected a list, as ["a","b"] or a,b"#.to_owned();
    let parsed: Dict = Toml::from_str(&format!("list = {text}")).map_err(|_| bad())?;
    let items = parsed.get("list").and_then(Value::as_array).ok_or_else(bad)?;
    items.iter().map(|item| as_text(item).ok_or_else(bad)).collect()
}

fn as_text(value: &Value) -> Option<String> {
    match value {
        Value::String(_, text) => Some(text.clone()),
        Value::Bool(_, truth) => Some(truth.to_string()),
        Value::Num(_, number) => {
            let whole = number.to_i128().map(|whole| whole.to_string());
            whole.or_else(|| number.to_f64().map(|fraction| fraction.to_string()))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_text_whatever_it_looks_like() {
        for text in ["12345", "true", "[1]", "", " padded "] {
            assert_eq!(Shape::Text.read(text).unwrap().as_str(), Some(text));
        }
    }

    #[test]
    fn lists_are_written_in_brackets_or_with_commas() {
        let expected: Value = vec!["10.0.0.0/8", "5"].into();
        assert_eq!(Shape::Texts.read(r#"["10.0.0.0/8", 5]"#).unwrap(), expected);
        assert_eq!(Shape::Texts.read("10.0.0.0/8, 5,").unwrap(), expected);
        assert_eq!(Shape::Texts.read("").unwrap(), Vec::<String>::new().into());
        assert_eq!(Shape::Numbers.read("0.5,1").unwrap(), vec![Value::from(0.5), Value::from(1_i64)].into());
    }

    #[test]
    fn what_is_not_of_the_shape_is_refused_with_what_was_expected() {
        assert_eq!(Shape::Whole.read("ten").unwrap_err(), "expected a whole number, found `ten`");
        assert_eq!(Shape::Truth.read("yes").unwrap_err(), "expected true or false, found `yes`");
        assert_eq!(Shape::Texts.read("[a").unwrap_err(), r#"expected a list, as ["a","b"] or a,b"#);
    }
}
