//! Published references for users of the API: the JSON Schemas of the types (the files in `schemas/json/`), and sample
//! events.

use schemars::{JsonSchema, Schema, generate::SchemaSettings, transform::RecursiveTransform};

use crate::{Attempt, Configuration, DeadLetter, Dialect, Endpoint, Event, Parked, Subscription};

/// The JSON Schemas (draft 2020-12) with their names; the files are called `<name>.schema.json`.
pub fn json_schemas() -> Vec<(&'static str, Schema)> {
    vec![
        ("event", schema::<Event>()),
        ("subscription", schema::<Subscription>()),
        ("endpoint", schema::<Endpoint>()),
        ("tenant", schema::<Configuration>()),
        ("dead_letter", schema::<DeadLetter>()),
        ("parked", schema::<Parked>()),
        ("attempt", schema::<Attempt>()),
    ]
}

fn schema<T: JsonSchema>() -> Schema {
    let settings = SchemaSettings::draft2020_12().with_transform(RecursiveTransform(bound_integers));
    settings.into_generator().into_root_schema_for::<T>()
}

/// Adds the bounds that follow from the format of an integer, since validators and generators do not know these formats.
pub fn bound_integers(schema: &mut Schema) {
    let (low, high) = match schema.get("format").and_then(|format| format.as_str()) {
        Some("uint16") => (0, u64::from(u16::MAX)),
        Some("uint32") => (0, u64::from(u32::MAX)),
        Some("uint64") => (0, u64::MAX),
        Some("int64") => (i64::MIN, i64::MAX.unsigned_abs()),
        _ => return,
    };
    if schema.get("minimum").is_none() {
        schema.insert("minimum".to_owned(), low.into());
    }
    if schema.get("maximum").is_none() {
        schema.insert("maximum".to_owned(), high.into());
    }
}

/// One realistic canonical event of each type, pretty-printed, with its type. The tests use the same files.
pub fn samples() -> &'static [(&'static str, &'static str)] {
    macro_rules! sample {
        ($event_type:literal, $file:literal) => {
            ($event_type, include_str!(concat!("../../tests/fixtures/canonical/", $file, ".json")))
        };
    }
    &[
        sample!("ticket.created", "whazing-channel-NewTicket"),
        sample!("ticket.opened", "whaticket-ticket-status"),
        sample!("ticket.transferred", "whazing-channel-TransferTicket"),
        sample!("ticket.closed", "whazing-channel-ClosedTicket"),
        sample!("ticket.tags_changed", "whaticket-tags"),
        sample!("message.received", "whazing-channel-message"),
        sample!("message.sent", "whazing-queue-message-sent"),
        sample!("message.status_changed", "boticario-status-delivered"),
        sample!("webhook.test", "whazing-test"),
    ]
}

/// One realistic body of each kind that a vendor sends, pretty-printed, with the vendor's own name of the kind.
pub fn vendor_samples(dialect: Dialect) -> &'static [(&'static str, &'static str)] {
    macro_rules! sample {
        ($kind:literal, $file:literal) => {
            ($kind, include_str!(concat!("../../tests/fixtures/vendor/", $file, ".json")))
        };
    }
    match dialect {
        Dialect::Whazing => &[
            sample!("message", "whazing-channel-message"),
            sample!("NewTicket", "whazing-channel-NewTicket"),
            sample!("NewTicketUserCreate", "whazing-channel-NewTicketUserCreate"),
            sample!("TransferTicket", "whazing-channel-TransferTicket"),
            sample!("ClosedTicket", "whazing-channel-ClosedTicket"),
            sample!("test", "whazing-test"),
        ],
        Dialect::Whaticket => &[
            sample!("start", "whaticket-message"),
            sample!("fila-data", "whaticket-file"),
            sample!("open", "whaticket-ticket-status"),
            sample!("closed", "whaticket-ticket-status-closed"),
            sample!("tag-sync", "whaticket-tags"),
        ],
        Dialect::Boticario => {
            &[sample!("response", "boticario-response"), sample!("status", "boticario-status-delivered")]
        }
    }
}

#[cfg(test)]
mod tests;
