//! The test fixtures, as the demo's input: vendors' webhook bodies, and events in canonical form.

/// A fixture's name, without folder and extension, and its text.
pub(super) type Fixture = (&'static str, &'static str);

macro_rules! fixtures {
    ($folder:literal: $($name:literal,)*) => {
        &[$(($name, include_str!(concat!("../../../tests/fixtures/", $folder, "/", $name, ".json"))),)*]
    };
}

#[rustfmt::skip]
pub(super) const CANONICAL: &[Fixture] = fixtures!("canonical":
    "boticario-response",
    "boticario-response-text",
    "boticario-status-delivered",
    "boticario-status-read",
    "boticario-status-sent",
    "whaticket-file",
    "whaticket-file-sent",
    "whaticket-message",
    "whaticket-message-no-queue",
    "whaticket-message-sent",
    "whaticket-tags",
    "whaticket-ticket-status",
    "whaticket-ticket-status-closed",
    "whazing-channel-ClosedTicket",
    "whazing-channel-NewTicket",
    "whazing-channel-NewTicketUserCreate",
    "whazing-channel-TransferTicket",
    "whazing-channel-TransferTicket-to-user",
    "whazing-channel-message",
    "whazing-channel-message-api-config",
    "whazing-channel-message-group",
    "whazing-channel-message-no-contact",
    "whazing-channel-message-sent-media",
    "whazing-queue-message",
    "whazing-queue-message-sent",
    "whazing-test",
);

#[rustfmt::skip]
pub(super) const VENDOR: &[Fixture] = fixtures!("vendor":
    "boticario-response",
    "boticario-response-text",
    "boticario-status-delivered",
    "boticario-status-read",
    "boticario-status-sent",
    "variant-izing-connection-status",
    "variant-izing-message-status",
    "variant-whaticket-connection",
    "variant-whaticket-legacy-end",
    "variant-whaticket-legacy-start",
    "variant-whaticket-queue-option-n8n",
    "variant-whaticket-queue_webhook",
    "variant-whaticket-queue_webhook_from_internal",
    "whaticket-file",
    "whaticket-file-sent",
    "whaticket-file-sent.start",
    "whaticket-file.as-boticario",
    "whaticket-file.as-whazing-channel",
    "whaticket-file.start",
    "whaticket-message",
    "whaticket-message-no-queue",
    "whaticket-message-no-queue.webhook-full",
    "whaticket-message-sent",
    "whaticket-tags",
    "whaticket-ticket-status",
    "whaticket-ticket-status-closed",
    "whaticket-ticket-status.snapshot-after",
    "whazing-channel-ClosedTicket",
    "whazing-channel-NewTicket",
    "whazing-channel-NewTicketUserCreate",
    "whazing-channel-TransferTicket",
    "whazing-channel-TransferTicket-to-user",
    "whazing-channel-message",
    "whazing-channel-message-api-config",
    "whazing-channel-message-group",
    "whazing-channel-message-group.shape-2.16",
    "whazing-channel-message-no-contact",
    "whazing-channel-message-sent-media",
    "whazing-channel-message-sent-media.as-whaticket",
    "whazing-channel-message-sent-media.shape-2.16",
    "whazing-channel-message.as-boticario",
    "whazing-channel-message.as-whaticket",
    "whazing-channel-message.shape-2.16",
    "whazing-queue-message",
    "whazing-queue-message-sent",
    "whazing-queue-message-sent.timestamp-ms",
    "whazing-queue-message-sent.timestamp-string",
    "whazing-queue-transfer-trigger",
    "whazing-saas-channel-status",
    "whazing-saas-new-tenant-test",
    "whazing-test",
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fixture_is_used() {
        for (folder, embedded) in [("canonical", CANONICAL), ("vendor", VENDOR)] {
            let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fixtures").join(folder);
            let mut names: Vec<_> = std::fs::read_dir(path)
                .expect("the folder")
                .map(|entry| {
                    entry.expect("an entry").path().file_stem().expect("a name").to_string_lossy().into_owned()
                })
                .collect();
            names.sort();
            let embedded: Vec<_> = embedded.iter().map(|(name, _)| (*name).to_owned()).collect();
            assert_eq!(embedded, names);
        }
    }
}
