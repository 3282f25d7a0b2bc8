//! The flags of each kind's common fields. They serialize as those fields; what is not given is null, and left out.
//!
//! A flag is called as its field is, but for `url`, which is the API's in every command, and here `--post-to`.

use std::{collections::BTreeMap, convert::Infallible};

use clap::Args;
use serde::{Serialize, Serializer};
use serde_json::Value;

#[derive(Debug, Args, Serialize)]
pub(crate) struct TenantFields {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    #[command(flatten)]
    quota: QuotaFields,
}

#[derive(Debug, Args, Serialize)]
struct QuotaFields {
    /// Quota: events it may publish a second.
    #[arg(long, value_name = "N")]
    events_per_second: Option<f64>,
    /// Quota: endpoints it may have.
    #[arg(long, value_name = "N")]
    endpoints: Option<u64>,
    /// Quota: subscriptions it may have.
    #[arg(long, value_name = "N")]
    subscriptions: Option<u64>,
    /// Quota: sources it may have.
    #[arg(long, value_name = "N")]
    sources: Option<u64>,
    /// Quota: keys it may have.
    #[arg(long, value_name = "N")]
    keys: Option<u64>,
    /// Quota: dead letters that are kept whole.
    #[arg(long, value_name = "N")]
    dead_letters: Option<u64>,
}

#[derive(Debug, Args, Serialize)]
pub(crate) struct EndpointFields {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// Where deliveries are posted: its `url`.
    #[arg(id = "post_to", long = "post-to", value_name = "URL")]
    url: Option<String>,
    /// The body: canonical, original, whazing, whaticket or boticario.
    #[arg(long)]
    format: Option<String>,
    /// Sent as X-N8N-API-KEY; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
    #[command(flatten)]
    #[serde(flatten)]
    headers: HeaderFields,
    /// How long an attempt may take, such as 15s.
    #[arg(long, value_name = "TIME")]
    timeout: Option<String>,
    #[command(flatten)]
    retry: RetryFields,
    #[command(flatten)]
    rate_limit: RateFields,
    /// How many attempts may be under way at once.
    #[arg(long, value_name = "N")]
    max_in_flight: Option<u32>,
    /// How many deliveries may wait.
    #[arg(long, value_name = "N")]
    max_backlog: Option<u64>,
    /// How deliveries are signed: v1 or v1a.
    #[arg(long)]
    signature: Option<String>,
}

/// The headers an endpoint gets besides ours.
#[derive(Debug, Args)]
struct HeaderFields {
    /// A header to send, as `name=value`; may be repeated.
    #[arg(long = "header", value_name = "NAME=VALUE", value_parser = pair)]
    plain: Vec<(String, String)>,
    /// A header whose value is a secret; `name=@FILE` reads it from a file.
    #[arg(long = "secret-header", value_name = "NAME=VALUE", value_parser = secret_pair)]
    secret: Vec<(String, String)>,
}

#[derive(Debug, Args, Serialize)]
struct RetryFields {
    /// Pauses between attempts, such as 5s,30s,10m.
    #[arg(long = "retry-schedule", value_name = "TIMES", value_parser = texts)]
    schedule: Option<Texts>,
    /// How old a delivery may become, such as 72h.
    #[arg(long = "retry-max-age", value_name = "TIME")]
    max_age: Option<String>,
}

#[derive(Debug, Args, Serialize)]
struct RateFields {
    /// How many attempts a second it takes.
    #[arg(long = "rate-per-second", value_name = "N")]
    per_second: Option<f64>,
}

#[derive(Debug, Args, Serialize)]
pub(crate) struct SubscriptionFields {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// The endpoint that gets what matches.
    #[arg(long = "endpoint-id", value_name = "ID")]
    endpoint_id: Option<String>,
    /// Whether it is in force.
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Of these types, such as message.received,ticket.* ; "" is none.
    #[arg(long, value_name = "TYPES", value_parser = texts)]
    event_types: Option<Texts>,
    /// Of these channels; left out, of any.
    #[arg(long, value_name = "IDS", value_parser = texts)]
    channel_ids: Option<Texts>,
    /// In these queues, "-" being none; left out, in any.
    #[arg(long, value_name = "IDS", value_parser = texts)]
    queue_ids: Option<Texts>,
    /// Messages in these directions: received,sent.
    #[arg(long, value_name = "WORDS", value_parser = texts)]
    directions: Option<Texts>,
    /// Messages of tickets that are pending, open or closed.
    #[arg(long, value_name = "WORDS", value_parser = texts)]
    ticket_statuses: Option<Texts>,
    /// Whether messages of groups are among them.
    #[arg(long, value_name = "BOOL")]
    groups: Option<bool>,
    /// Whether a transfer to one of its queues is sent at once, as the last message received.
    #[arg(long, value_name = "BOOL", num_args = 0..=1, default_missing_value = "true")]
    start_on_transfer: Option<bool>,
}

#[derive(Debug, Args, Serialize)]
pub(crate) struct SourceFields {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// Whose webhooks come in: whazing, whaticket or boticario.
    #[arg(long)]
    dialect: Option<String>,
    /// The channel, where a body names none.
    #[arg(long, value_name = "ID", value_parser = id)]
    channel_id: Option<Id>,
    /// Whether the body is kept for endpoints of format original.
    #[arg(long, value_name = "BOOL")]
    keep_original: Option<bool>,
    /// The X-N8N-API-KEY that its sender must show; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
}

#[derive(Debug, Args, Serialize)]
pub(crate) struct KeyFields {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// What it may: publish,read,manage.
    #[arg(long, value_name = "WORDS", value_parser = texts)]
    scopes: Option<Texts>,
}

#[derive(Debug, Args, Serialize)]
pub(crate) struct ChannelFields {
    /// Whether events are sent.
    #[arg(long, value_name = "BOOL")]
    enabled: Option<bool>,
    /// Where deliveries are posted: its `url`.
    #[arg(id = "post_to", long = "post-to", value_name = "URL")]
    url: Option<String>,
    /// Which boxes are ticked: new_ticket,transferred,closed,received,sent; "" is none.
    #[arg(long, value_name = "BOXES", value_parser = texts)]
    events: Option<Texts>,
    /// Sent as X-N8N-API-KEY; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
    /// The body; whazing if it is left out.
    #[arg(long)]
    format: Option<String>,
    /// Whether messages of groups are among them.
    #[arg(long, value_name = "BOOL")]
    groups: Option<bool>,
    /// Messages of tickets that are pending, open or closed.
    #[arg(long, value_name = "WORDS", value_parser = texts)]
    ticket_statuses: Option<Texts>,
}

#[derive(Debug, Args, Serialize)]
pub(crate) struct IntegrationFields {
    /// What people call it.
    #[arg(long)]
    name: Option<String>,
    /// Where deliveries are posted: its `url`.
    #[arg(id = "post_to", long = "post-to", value_name = "URL")]
    url: Option<String>,
    /// Sent as X-N8N-API-KEY; `@FILE` reads it from a file.
    #[arg(long, value_name = "KEY", value_parser = secret)]
    n8n_api_key: Option<String>,
    /// The body; whazing if it is left out.
    #[arg(long)]
    format: Option<String>,
}

/// Several texts, written with commas between; nothing written is none of them.
#[derive(Clone, Debug, Serialize)]
struct Texts(Vec<String>);

#[expect(clippy::unnecessary_wraps, reason = "what clap wants of a parser")]
fn texts(text: &str) -> Result<Texts, Infallible> {
    Ok(Texts(text.split(',').map(str::trim).filter(|text| !text.is_empty()).map(str::to_owned).collect()))
}

/// An id that is a number stays one, as the vendor's bodies have it.
#[derive(Clone, Debug, Serialize)]
struct Id(Value);

#[expect(clippy::unnecessary_wraps, reason = "what clap wants of a parser")]
fn id(text: &str) -> Result<Id, Infallible> {
    let number = text.parse::<i64>().ok().filter(|number| number.to_string() == text);
    Ok(Id(number.map_or_else(|| text.into(), Value::from)))
}

/// A secret, best read from a file: a command line is seen by everyone on the machine.
pub(crate) fn secret(text: &str) -> Result<String, String> {
    let Some(file) = text.strip_prefix('@') else { return Ok(text.to_owned()) };
    let read = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
    Ok(read.trim_end().to_owned())
}

fn pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=VALUE")?;
    Ok((name.to_owned(), value.to_owned()))
}

fn secret_pair(text: &str) -> Result<(String, String), String> {
    let (name, value) = pair(text)?;
    Ok((name, secret(&value)?))
}

impl Serialize for HeaderFields {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let plain = self.plain.iter().map(|(name, value)| (name, Value::from(value.as_str())));
        let secret = self.secret.iter().map(|(name, value)| (name, serde_json::json!({"secret": value})));
        let headers: BTreeMap<_, _> = plain.chain(secret).collect();
        BTreeMap::from([("headers", headers)]).serialize(serializer)
    }
}

#[cfg(test)]
mod tests {
    use clap::Parser;
    use serde_json::json;

    use super::super::body::Body;
    use super::*;

    fn body<F: Args + Serialize>(arguments: &[&str]) -> Value {
        #[derive(Parser)]
        struct Line<F: Args> {
            #[command(flatten)]
            body: Body<F>,
        }
        let line = Line::<F>::try_parse_from([&["x"], arguments].concat()).unwrap_or_else(|error| panic!("{error}"));
        line.body.read().unwrap().into()
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
        assert_eq!(body::<EndpointFields>(&[&flags[..], &more].concat()), expected);
        assert_eq!(body::<EndpointFields>(&["--retry-schedule", ""]), json!({"retry": {"schedule": []}}));
    }

    #[test]
    fn lists_are_written_with_commas_and_nothing_is_an_empty_one() {
        let flags = ["--channel-ids", "7,loja 1", "--event-types", "", "--start-on-transfer"];
        let expected = json!({"channel_ids": ["7", "loja 1"], "event_types": [], "start_on_transfer": true});
        assert_eq!(body::<SubscriptionFields>(&flags), expected);
    }

    #[test]
    fn an_id_that_is_a_number_stays_one() {
        assert_eq!(body::<SourceFields>(&["--channel-id", "7"]), json!({"channel_id": 7}));
        assert_eq!(body::<SourceFields>(&["--channel-id", "007"]), json!({"channel_id": "007"}));
    }
}
