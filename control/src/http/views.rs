//! Which endpoints and subscriptions belong to a view: `channel-<id>`, `integration-<id>`, `queue-<id>`.

use service::problem::{Code, Problem};

/// The prefix of what a view owns, and the call that changes it.
const VIEWS: [(&str, &str); 3] = [
    ("channel-", "PUT /v1/tenants/{tenant}/channels/{channel_id}/webhook"),
    ("integration-", "PUT /v1/tenants/{tenant}/integrations/{id}"),
    ("queue-", "PUT /v1/tenants/{tenant}/queues/{queue_id}/integration"),
];

/// What a view owns is not changed by the generic calls.
pub(crate) fn refuse_owned(id: &str) -> Result<(), Problem> {
    match VIEWS.iter().find(|(prefix, _)| id.starts_with(prefix)) {
        Some((prefix, call)) => {
            let detail = format!("ids that begin with {prefix} belong to a view: use {call}");
            Err(Problem::new(Code::Conflict).detail(detail))
        }
        None => Ok(()),
    }
}
