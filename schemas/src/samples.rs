//! One realistic canonical event of each type, for people who want to try something. The same files as the tests'.

/// Each type with an event of it, pretty-printed.
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
