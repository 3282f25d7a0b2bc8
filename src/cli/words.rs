//! Values of flags that are words of closed lists, which the help and the completions show.
//!
//! The lists are those of the types: their schemas name the words.

use std::ffi::OsStr;

use clap::{
    Arg, Command,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
    error::ErrorKind,
};
use schemars::JsonSchema;
use serde::de::DeserializeOwned;
use serde_json::Value;
use service::suggest::suggestion;

use super::resources::Texts;

/// Parser of one word of `T`.
pub(super) fn word<T: JsonSchema>() -> PossibleValuesParser {
    PossibleValuesParser::new(words::<T>())
}

/// Parser of one word of `T` as a `T`.
pub(super) fn typed_word<T: JsonSchema + DeserializeOwned + Clone + Send + Sync + 'static>()
-> impl TypedValueParser<Value = T> {
    word::<T>().try_map(|word| serde_json::from_value::<T>(word.into()))
}

/// Parser of words of `T` that are separated by commas. An empty argument is an empty list.
pub(super) fn word_list<T: JsonSchema>() -> WordList {
    WordList(words::<T>())
}

#[derive(Clone)]
pub(super) struct WordList(Vec<String>);

impl TypedValueParser for WordList {
    type Value = Texts;

    fn parse_ref(&self, command: &Command, argument: Option<&Arg>, value: &OsStr) -> Result<Texts, clap::Error> {
        let texts = Texts::parse(&value.to_string_lossy());
        match texts.0.iter().find(|text| !self.0.contains(text)) {
            None => Ok(texts),
            Some(unknown) => {
                let flag = argument.and_then(Arg::get_long).unwrap_or_default();
                let known: Vec<_> = self.0.iter().map(String::as_str).collect();
                let why = format!("--{flag}: unknown word {unknown}, {}\n", suggestion(unknown, &known));
                Err(clap::Error::raw(ErrorKind::InvalidValue, why).with_cmd(command))
            }
        }
    }

    fn possible_values(&self) -> Option<Box<dyn Iterator<Item = PossibleValue> + '_>> {
        Some(Box::new(self.0.iter().map(PossibleValue::new)))
    }
}

/// The words of a type that is written as one of several texts.
fn words<T: JsonSchema>() -> Vec<String> {
    let schema = schemars::SchemaGenerator::default().into_root_schema_for::<T>().to_value();
    let text = |value: &Value| value.as_str().map(str::to_owned);
    let lists = ["enum", "oneOf"].into_iter().filter_map(|name| schema[name].as_array()).flatten();
    // Words with descriptions are alternatives, each with a word or a list of them.
    lists
        .flat_map(|item| match (&item["const"], &item["enum"]) {
            (Value::Null, Value::Null) => text(item).into_iter().collect(),
            (Value::Null, list) => list.as_array().into_iter().flatten().filter_map(text).collect(),
            (word, _) => text(word).into_iter().collect::<Vec<_>>(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use schemas::{Dialect, Format, Scope};

    use super::*;

    #[derive(Debug, Parser)]
    struct Cli {
        #[arg(long, value_parser = word::<Format>())]
        format: Option<String>,
        #[arg(long, value_parser = word_list::<Scope>())]
        scopes: Option<Texts>,
    }

    #[test]
    fn words_are_those_of_the_type() {
        assert_eq!(words::<Dialect>(), Dialect::ALL.map(|dialect| dialect.as_str().to_owned()));
        assert_eq!(words::<Scope>(), ["publish", "read", "manage"]);
    }

    #[test]
    fn an_unknown_word_is_refused_with_the_nearest_or_with_all() {
        let cli = Cli::try_parse_from(["x", "--format", "whazing", "--scopes", "read, manage"]).unwrap();
        assert_eq!(
            (cli.format.unwrap(), cli.scopes.unwrap().0),
            ("whazing".to_owned(), vec!["read".into(), "manage".into()])
        );
        assert_eq!(Cli::try_parse_from(["x", "--scopes", ""]).unwrap().scopes.unwrap().0, [""; 0]);
        for (arguments, said) in [
            (["x", "--format", "zendesk"], "[possible values: whazing, "),
            (["x", "--scopes", "read,manag"], "--scopes: unknown word manag, did you mean manage?"),
            (["x", "--scopes", "admin"], "known are publish, read, manage"),
        ] {
            let error = Cli::try_parse_from(arguments).unwrap_err().to_string();
            assert!(error.contains(said), "{error}");
        }
    }
}
