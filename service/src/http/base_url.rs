//! The address of a server, to which the paths of its API are added.

use std::{borrow::Cow, fmt};

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize};
use url::Url;

/// Scheme, host and port: `https://carteiro.example`, without a path.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct BaseUrl(Url);

/// Why a text is no base URL. The texts repeat nothing of it, because it may hold a password.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidBaseUrl {
    #[error("expected http://HOST:PORT or https://HOST:PORT")]
    NotHttp,
    #[error("an address has no user and no password")]
    User,
    #[error("expected an address without a path or query, such as http://127.0.0.1:8080")]
    Path,
}

impl BaseUrl {
    pub fn parse(text: &str) -> Result<Self, InvalidBaseUrl> {
        let url = Url::parse(text).map_err(|_| InvalidBaseUrl::NotHttp)?;
        if !["http", "https"].contains(&url.scheme()) {
            return Err(InvalidBaseUrl::NotHttp);
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(InvalidBaseUrl::User);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(InvalidBaseUrl::Path);
        }
        Ok(Self(url))
    }

    /// URL of a path, which begins with a slash.
    pub fn join(&self, path: &str) -> String {
        format!("{self}{path}")
    }

    pub fn url(&self) -> &Url {
        &self.0
    }
}

/// Without the slash at its end.
impl fmt::Display for BaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_str().trim_end_matches('/'))
    }
}

impl TryFrom<String> for BaseUrl {
    type Error = InvalidBaseUrl;

    fn try_from(text: String) -> Result<Self, InvalidBaseUrl> {
        Self::parse(&text)
    }
}

impl From<BaseUrl> for String {
    fn from(url: BaseUrl) -> Self {
        url.to_string()
    }
}

impl JsonSchema for BaseUrl {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "BaseUrl".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({"type": "string", "examples": ["https://carteiro.example"]})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_a_scheme_a_host_and_a_port() {
        let at = |text: &str| BaseUrl::parse(text).unwrap();
        assert_eq!(at("http://127.0.0.1:8080/").to_string(), "http://127.0.0.1:8080");
        assert_eq!(at("https://Carteiro.Example:443").join("/v1/in/x"), "https://carteiro.example/v1/in/x");
    }

    #[test]
    fn anything_else_is_refused_without_being_repeated() {
        for (text, expected) in [
            ("127.0.0.1:8080", InvalidBaseUrl::NotHttp),
            ("carteiro.example", InvalidBaseUrl::NotHttp),
            ("ftp://a.example", InvalidBaseUrl::NotHttp),
            ("", InvalidBaseUrl::NotHttp),
            ("http://user:S3CRET@a.example", InvalidBaseUrl::User),
            ("http://user@a.example", InvalidBaseUrl::User),
            ("http://a.example/v1", InvalidBaseUrl::Path),
            ("http://a.example/?x=1", InvalidBaseUrl::Path),
            ("http://a.example/#x", InvalidBaseUrl::Path),
        ] {
            assert_eq!(BaseUrl::parse(text), Err(expected), "{text}");
        }
        let error = serde_json::from_str::<BaseUrl>(r#""http://user:S3CRET@a.example""#).unwrap_err().to_string();
        assert!(!error.contains("S3CRET"), "{error}");
    }
}
