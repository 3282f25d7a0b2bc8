//! The parts of a topology, as they are printed for people and compared with a broker.

use std::fmt;

use serde::Serialize;

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredExchange {
    pub name: String,
    pub kind: Routing,
    /// The exchange that takes what matches no binding of this one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub alternate: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Routing {
    /// To the queues whose pattern matches the key.
    Topic,
    /// To the queues bound with exactly this key.
    Direct,
    /// To all bound queues.
    Fanout,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredQueue {
    pub name: String,
    /// All arguments, `x-queue-type` included.
    pub arguments: Vec<(&'static str, Argument)>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum Argument {
    Int(i64),
    Text(String),
}

/// A binding of a queue to an exchange.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct DeclaredBinding {
    pub from: String,
    pub to: String,
    pub key: String,
}

impl fmt::Display for DeclaredExchange {
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

impl fmt::Display for DeclaredBinding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "binding {} -> {} {}", self.from, self.to, self.key)
    }
}
