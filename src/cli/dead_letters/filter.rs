//! Which dead letters are meant, as flags: the names that the API's filter has.

use anyhow::Context as _;
use control::DeadLetterFilter;
use service::Exit;

#[derive(Debug, clap::Args)]
pub(super) struct FilterArgs {
    /// Of this tenant.
    #[arg(long)]
    pub(super) tenant: Option<String>,
    /// Of these ids, separated by commas.
    #[arg(long, value_delimiter = ',')]
    ids: Vec<String>,
    /// To this endpoint.
    #[arg(long)]
    endpoint_id: Option<String>,
    /// With this reason.
    #[arg(long)]
    reason: Option<String>,
    /// Of events of this type.
    #[arg(long)]
    event_type: Option<String>,
    /// Ended then (RFC 3339) or later.
    #[arg(long)]
    since: Option<String>,
    /// Ended before then (RFC 3339).
    #[arg(long)]
    until: Option<String>,
}

impl FilterArgs {
    pub(super) fn filter(&self, ids: &[String]) -> anyhow::Result<DeadLetterFilter> {
        let mut filter = DeadLetterFilter::default();
        let one = |name, text: &'_ Option<String>| text.clone().map(|text| (name, text));
        let ids = self.ids.iter().chain(ids).map(|id| ("ids", id.clone()));
        let fields = [
            one("endpoint_id", &self.endpoint_id),
            one("reason", &self.reason),
            one("event_type", &self.event_type),
            one("since", &self.since),
            one("until", &self.until),
        ];
        for (name, text) in ids.chain(fields.into_iter().flatten()) {
            let set = filter.set(name, &text);
            set.with_context(|| format!("--{} {text}", name.replace('_', "-"))).context(Exit::Usage)?;
        }
        Ok(filter)
    }
}
