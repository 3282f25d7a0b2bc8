//! `carteiro endpoints`.
//!
//! Flags are named like their fields, except `--post-to` for `url`: `--url` could as well be the API's address.

use std::collections::{BTreeMap, BTreeSet};

use clap::Subcommand;
use schemas::{Format, Signature};
use serde::{Serialize, Serializer, ser::Error as _};
use serde_json::{Value, json};

use super::{
    Action, Actions, Args, ListFilter, ResourceArgs, ResourceFields, RotationArgs, TenantArg,
    arguments::{Texts, secret, texts},
};
use crate::cli::{client::Method, words::word};

/// What is lost with an endpoint, also with that of a channel or an integration.
pub(super) const LOST_WITH_ENDPOINT: &str =
    "with its subscriptions; what still waits for it becomes dead letters, which can be replayed once it is made anew";

pub(crate) type EndpointArgs = Args<EndpointFields, TenantArg, EndpointActions>;

#[derive(Debug, clap::Args, Serialize)]
pub(crate) struct EndpointFields {
    /// Name for people.
    #[arg(long)]
    name: Option<String>,
    /// URL that deliveries are posted to: its field `url`.
    #[arg(id = "post_to", long = "post-to", value_name = "URL")]
    url: Option<String>,
    /// Format of the body. Default: canonical.
    #[arg(long, value_parser = word::<Format>())]
    format: Option<String>,
    /// Key to send as X-N8N-API-KEY; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    headers: HeaderFields,
    /// Longest time of an attempt, such as 15s.
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    #[command(flatten)]
    retry: RetryFields,
    #[command(flatten)]
    rate_limit: RateFields,
    /// Most attempts under way at once.
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// Most deliveries that may wait.
    #[arg(long, value_name = "N")]
    max_backlog: Option<u64>,
    /// Kind of its signatures.
    #[arg(long, value_parser = word::<Signature>())]
    signature: Option<String>,
}

/// The headers to send besides carteiro's own.
#[derive(Debug, clap::Args)]
struct HeaderFields {
    /// A header to send, as `name=value`; may be repeated.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = header)]
    plain: Vec<(String, String)>,
    /// A header whose value is a secret; `name=@FILE` reads it from a file.
    #[arg(long = "secret-header", value_name = "NAME=VALUE", value_parser = secret_header)]
    secret: Vec<(String, String)>,
}

#[derive(Debug, clap::Args, Serialize)]
struct RetryFields {
    /// Pauses between attempts, such as 5s,30s,10m.
    #[arg(long = "retry-schedule", value_name = "TIMES", value_parser = texts)]
    schedule: Option<Texts>,
    /// Greatest age of a delivery that is retried, such as 72h.
    #[arg(long = "retry-max-age", value_name = "TIME")]
    max_age: Option<String>,
}

#[derive(Debug, clap::Args, Serialize)]
struct RateFields {
    /// Most attempts a second.
    #[arg(long = "rate-per-second", value_name = "N")]
    per_second: Option<f64>,
}

fn header(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn secret_header(text: &str) -> Result<(String, String), String> {
    let (name, value) = header(text)?;
    Ok((name, secret(&value)?))
}

impl Serialize for HeaderFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut names = BTreeSet::new();
        for (name, _) in self.plain.iter().chain(&self.secret) {
            if !names.insert(name.to_lowercase()) {
                return Err(S::Error::custom(format_args!("the header {name} is given twice")));
            }
        }
        let plain = self.plain.iter().map(|(name, value)| (name, Value::from(value.as_str())));
        let secret = self.secret.iter().map(|(name, value)| (name, json!({"secret": value})));
        let headers: BTreeMap<_, _> = plain.chain(secret).collect();
        BTreeMap::from([("headers", headers)]).serialize(serializer)
    }
}

impl ResourceFields for EndpointFields {
    const NAME: &'static str = "endpoint";
    const COLLECTION: &'static str = "endpoints";
    type Filter = EndpointFilter;
    const COLUMNS: &'static [(&'static str, &'static str)] = &[
        ("id", "id"),
        ("name", "name"),
        ("format", "format"),
        ("state", "state"),
        ("health", "health.state"),
        ("url", "url"),
    ];
    const LOST_WITH_IT: Option<&'static str> = Some(LOST_WITH_ENDPOINT);
}

#[derive(Debug, clap::Args)]
pub(crate) struct EndpointFilter {
    /// List only those whose last delivery failed.
    #[arg(long)]
    failing: bool,
}

impl ListFilter for EndpointFilter {
    fn shows(&self, endpoint: &Value) -> bool {
        !self.failing || endpoint["health"]["state"] == "failing"
    }
}

/// The actions on what has an endpoint: endpoints, channels and integrations.
#[derive(Debug, Subcommand)]
pub(crate) enum EndpointActions {
    /// Let deliveries go out again, whatever stopped them.
    Enable(ResourceArgs<TenantArg>),
    /// Let no delivery go out until it is enabled: each ends as a dead letter, which can be replayed.
    Disable {
        #[command(flatten)]
        endpoint: ResourceArgs<TenantArg>,
        /// The reason, which is shown with it.
        #[arg(long, value_name = "TEXT")]
        reason: Option<String>,
    },
    /// Let every delivery wait until it is enabled: none expires, and each is attempted then.
    Pause(ResourceArgs<TenantArg>),
    /// End every delivery that waits now: each becomes a dead letter when it is due.
    Cancel(ResourceArgs<TenantArg>),
    /// Sign with a new secret, and for a while also with those before.
    #[command(visible_alias = "rotate-secret")]
    Rotate {
        #[command(flatten)]
        rotation: RotationArgs,
        /// Kind of the signatures from now on. Default: unchanged.
        #[arg(long, value_parser = word::<Signature>())]
        signature: Option<String>,
    },
    /// Send a test, also while it is disabled or paused: one attempt, and how it ended.
    Test(ResourceArgs<TenantArg>),
    /// Show how many deliveries wait for it.
    Waiting(ResourceArgs<TenantArg>),
}

impl Actions for EndpointActions {
    fn action(self) -> (ResourceArgs<TenantArg>, Action) {
        let post = Action::post;
        match self {
            Self::Enable(endpoint) => (endpoint, post("/enable", Some("enabled"))),
            Self::Disable { endpoint, reason } => {
                let body = reason.map(|reason| json!({"reason": reason}));
                (endpoint, Action { body, ..post("/disable", Some("disabled")) })
            }
            Self::Pause(endpoint) => (endpoint, post("/pause", Some("paused"))),
            Self::Cancel(endpoint) => (endpoint, post("/cancel", None)),
            Self::Rotate { rotation, signature } => {
                let (endpoint, mut action) = rotation.action("/secrets/rotate", "has a new secret");
                if let Some(signature) = signature {
                    action.body.get_or_insert_with(|| json!({}))["signature"] = signature.into();
                }
                (endpoint, action)
            }
            Self::Test(endpoint) => (endpoint, post("/test", None)),
            Self::Waiting(endpoint) => (endpoint, Action { method: Method::GET, ..post("/waiting", None) }),
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use service::Exit;

    use super::{super::BodyArgs, *};

    #[derive(Parser)]
    struct Cli {
        #[command(flatten)]
        body: BodyArgs<EndpointFields>,
    }

    fn body(arguments: &[&str]) -> Value {
        let cli = Cli::try_parse_from([&["x"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
        cli.body.read().unwrap().into()
    }

    #[test]
    fn an_endpoints_flags_are_its_fields() {
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), "S3CRET\n").unwrap();
        let secret = format!("x-b=@{}", file.path().display());
        let flags = ["--post-to", "https://x/", "--header", "x-a=b=c", "--secret-header", &secret];
        let more = ["--retry-schedule", "5s,30s", "--retry-max-age", "1h", "--rate-per-second", "2.5"];
        let expected = json!({
            "url": "https://x/", "headers": {"x-a": "b=c", "x-b": {"secret": "S3CRET"}},
            "retry": {"schedule": ["5s", "30s"], "max_age": "1h"}, "rate_limit": {"per_second": 2.5},
        });
        assert_eq!(body(&[&flags[..], &more].concat()), expected);
        assert_eq!(body(&["--retry-schedule", ""]), json!({"retry": {"schedule": []}}));
    }

    #[test]
    fn a_header_that_is_given_twice_is_wrong_usage() {
        for again in [["--header", "X-A=2"], ["--header", "x-a=1"], ["--secret-header", "x-A=s"]] {
            let cli = Cli::try_parse_from([&["x", "--header", "X-A=1"][..], &again].concat()).unwrap();
            let error = cli.body.read().unwrap_err();
            assert!(Exit::of(&error) == Exit::Usage && format!("{error:#}").contains("is given twice"), "{error:#}");
        }
    }
}
