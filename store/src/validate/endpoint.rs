//! Checks an endpoint's URL, secrets, retries and limits.

use schemas::{Endpoint, RetryPolicy};
use url::Url;

use super::{id, is_rate, secret};
use crate::invalid_field::ValidationReport;

/// Checks everything that does not depend on the rest of the configuration.
pub(super) fn check(endpoint: &Endpoint, report: &mut ValidationReport) {
    report.key("id", |report| id::check_ownable(&endpoint.id, report));
    report.key("url", |report| check_url(&endpoint.url, report));
    secret::check_fields(endpoint, report);
    if endpoint.n8n_api_key.is_some() {
        check_key_given_once(endpoint, report);
    }
    secret::check_signing(endpoint, report);
    if !(Endpoint::SHORTEST_TIMEOUT..=Endpoint::LONGEST_TIMEOUT).contains(&endpoint.timeout) {
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
        Err(_) if text.is_empty() => return report.add("is empty: expected http://… or https://…"),
        Err(url::ParseError::RelativeUrlWithoutBase) => return report.add("must begin with http:// or https://"),
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
    let most = RetryPolicy::MOST_STEPS;
    if retry.schedule.len() > most {
        report.key("schedule", |report| report.add(format!("has more than {most} steps")));
    }
    report.list("schedule", &retry.schedule, |step, report| {
        if !(RetryPolicy::SHORTEST_STEP..=RetryPolicy::LONGEST_WAIT).contains(step) {
            report.add("must be between 1s and 30d");
        }
    });
    if !(RetryPolicy::SHORTEST_AGE..=RetryPolicy::LONGEST_WAIT).contains(&retry.max_age) {
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
