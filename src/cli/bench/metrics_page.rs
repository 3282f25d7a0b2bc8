//! Counters on the page of metrics of a process.

use std::net::SocketAddr;

use anyhow::Context as _;

use super::connection::Connection;

/// The sum of a counter's series on the page of the process whose ops listener has this address.
pub(super) async fn counter(ops: SocketAddr, name: &str) -> anyhow::Result<f64> {
    let page = Connection::get(ops, "/metrics").await?;
    sum(std::str::from_utf8(&page.body)?, name)
}

/// The sum of a metric's series on a page of metrics.
fn sum(page: &str, name: &str) -> anyhow::Result<f64> {
    let series = page.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        (series.split('{').next() == Some(name)).then_some(value)
    });
    let values = series.map(str::parse::<f64>).collect::<Result<Vec<_>, _>>()?;
    (!values.is_empty()).then(|| values.iter().sum()).with_context(|| format!("there is no metric {name}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_counter_is_the_sum_of_its_series() {
        let page = "# HELP a_total Text 7\na_total{reason=\"x\"} 2\na_total{reason=\"y\"} 3\na_total_more 9\n";
        assert_eq!(sum(page, "a_total").unwrap(), 5.0);
        assert!(sum(page, "a").is_err());
    }
}
