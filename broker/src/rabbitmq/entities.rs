//! What a topology is made of, as it is printed for people and compared with a broker.

use std::fmt;

use serde::Serialize;

/// A durable exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Exchange {
    /// Its name.
    pub name: String,
    /// How it routes.
    pub kind: Routing,
    /// Where what matches no binding goes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternate: Option<String>,
}

/// How an exchange routes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// By pattern.
    Topic,
    /// By the very key.
    Direct,
    /// To all.
    Fanout,
}

/// A durable queue or stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredQueue {
    /// Its name.
    pub name: String,
    /// All of them, `x-queue-type` included.
    pub arguments: Vec<(&'static str, Argument)>,
}

/// The value of an argument.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Argument {
    /// A whole number.
    Int(i64),
    /// Text.
    Text(String),
}

/// From an exchange to a queue.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Binding {
    /// The exchange.
    pub from: String,
    /// The queue.
    pub to: String,
    /// The pattern.
    pub key: String,
}

impl fmt::Display for Exchange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exchange {} {}", self.name, self.kind)?;
        match &self.alternate {
            Some(alternate) => write!(f, " alternate={alternate}"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Routing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topic => "topic",
            Self::Direct => "direct",
            Self::Fanout => "fanout",
        })
    }
}

impl fmt::Display for DeclaredQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "queue {}", self.name)?;
        self.arguments.iter().try_for_each(|(name, value)| write!(f, " {}={value}", name.trim_start_matches("x-")))
    }
}

impl fmt::Display for Argument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Int(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "binding {} -> {} {}", self.from, self.to, self.key)
    }
}
