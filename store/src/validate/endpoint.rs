//! Checks an endpoint's URL, secrets, retries and limits.

use std::time::Duration;

use schemas::{Endpoint, RetryPolicy};
use url::Url;

use super::{id, is_rate, secret};
use crate::invalid_field::ValidationReport;

/// Longest timeout of a request. A slower receiver would hold a slot that others wait for.
const LONGEST_TIMEOUT: Duration = Duration::from_secs(60);

/// Shortest timeout of a request. Below it, a handshake across an ocean already fails.
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(100);

/// Shortest step of a schedule. The first waiting time is rounded up to this, so a shorter step would not be kept.
const SHORTEST_STEP: Duration = Duration::from_secs(1);

/// Most steps of a schedule. The default has ten, so more than this is a mistake.
const MOST_STEPS: usize = 50;

/// Longest step, and longest age of a delivery. No one waits longer for a receiver, and every clock can represent it.
const LONGEST_WAIT: Duration = Duration::from_secs(30 * 86_400);

/// Checks everything that does not depend on the rest of the configuration.
pub(super) fn check(endpoint: &Endpoint, report: &mut ValidationReport) {
    report.key("id", |report| id::check_ownable(&endpoint.id, report));
    report.key("url", |report| check_url(&endpoint.url, report));
    secret::check_fields(endpoint, report);
    if endpoint.n8n_api_key.is_some() {
        check_key_given_once(endpoint, report);
    }
    secret::check_signing(endpoint, report);
    if !(SHORTEST_TIMEOUT..=LONGEST_TIMEOUT).contains(&endpoint.timeout.0) {
        report.key("timeout", |report| report.add("must be between 100ms and 60s"));
    }
    if let Some(retry) = &endpoint.retry {
        report.key("retry", |report| check_retry(retry, report));
    }
    check_limits(endpoint, report);
}

fn check_url(text: &str, report: &mut ValidationReport) {
    let url = match Url::parse(text) {
        Ok(url) => url,
        // The parser's errors are fixed sentences, which repeat nothing of the URL.
        Err(error) => return report.add(format!("is no URL: {error}")),
    };
    if !matches!(url.scheme(), "http" | "https") {
        report.add("must begin with http:// or https://");
    } else if url.host_str().is_none_or(str::is_empty) {
        report.add("has no host");
    }
    if !url.username().is_empty() || url.password().is_some() {
        report.add("must not hold a user or password: send them as a header {secret: …}");
    }
}

fn check_key_given_once(endpoint: &Endpoint, report: &mut ValidationReport) {
    if let Some(name) = endpoint.headers.keys().find(|name| name.eq_ignore_ascii_case("x-n8n-api-key")) {
        report.key("headers", |report| report.key(name.clone(), |report| report.add("is set by n8n_api_key already")));
    }
}

fn check_retry(retry: &RetryPolicy, report: &mut ValidationReport) {
    if retry.schedule.len() > MOST_STEPS {
        report.key("schedule", |report| report.add(format!("has more than {MOST_STEPS} steps")));
    }
    report.list("schedule", &retry.schedule, |step, report| {
        if !(SHORTEST_STEP..=LONGEST_WAIT).contains(&step.0) {
            report.add("must be between 1s and 30d");
        }
    });
    if retry.max_age.0.is_zero() || retry.max_age.0 > LONGEST_WAIT {
        report.key("max_age", |report| report.add("must be more than 0 and at most 30d"));
    }
}

fn check_limits(endpoint: &Endpoint, report: &mut ValidationReport) {
    if endpoint.rate_limit.is_some_and(|limit| !is_rate(limit.per_second)) {
        report.key("rate_limit", |report| report.key("per_second", |report| report.add("must be more than 0")));
    }
    if endpoint.max_in_flight == 0 {
        report.key("max_in_flight", |report| report.add("must be at least 1"));
    }
    if endpoint.max_backlog == 0 {
        report.key("max_backlog", |report| report.add("must be at least 1"));
    }
}
