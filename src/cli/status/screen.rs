//! The screen of `carteiro status`: the verdict first, then what it is made of, in 80 columns. Pure.

use std::{fmt::Write as _, time::Duration};

use anstyle::{AnsiColor, Style};
use schemas::time::unix_ms;
use serde_json::Value;
use service::duration::rough;

use crate::cli::output::cell;

const WIDTH: usize = 80;
const BOLD: Style = Style::new().bold();
const DIM: Style = Style::new().dimmed();
const GOOD: Style = AnsiColor::Green.on_default().bold();
const BAD: Style = AnsiColor::Red.on_default().bold();
const ODD: Style = AnsiColor::Yellow.on_default();

/// Draws the answer of the API. Parts that it does not have are left out: a tenant's has no processes.
pub(super) fn screen(status: &Value) -> String {
    let mut screen = Screen { text: String::new(), now: time(&status["at"]).unwrap_or_default() };
    screen.verdict(status);
    screen.processes(status);
    screen.queues(status);
    screen.endpoints(&status["endpoints"]);
    screen.records(status);
    screen.quotas(status);
    screen.text.truncate(screen.text.trim_end().len());
    screen.text
}

struct Screen {
    text: String,
    /// Unix milliseconds.
    now: u64,
}

impl Screen {
    fn verdict(&mut self, status: &Value) {
        let problems = items(&status["problems"]);
        let (style, verdict) = match problems.len() {
            0 => (GOOD, "well".to_owned()),
            1 => (BAD, "not well: 1 problem".to_owned()),
            count => (BAD, format!("not well: {count} problems")),
        };
        let at = cell(&status["at"]).replace('T', " ");
        let at = format!("{} UTC", at.get(.."2026-11-30 12:00:00".len()).unwrap_or_default());
        let room = WIDTH.saturating_sub(verdict.len());
        self.line(format_args!("{style}{verdict}{style:#}{DIM}{at:>room$}{DIM:#}"));
        for (mark, style, messages) in [('✘', BAD, problems), ('•', ODD, items(&status["notices"]))] {
            for message in messages {
                self.wrapped(&cell(&message["message"]), mark, style, Style::new());
                self.wrapped(&cell(&message["hint"]), ' ', style, DIM);
            }
        }
    }

    fn processes(&mut self, status: &Value) {
        let Some(processes) = status["processes"].as_array() else { return };
        self.heading("processes", "");
        let rows: Vec<_> = processes
            .iter()
            .map(|process| {
                let silent = number(&process["silent_seconds"]).unwrap_or_default();
                let heard = match (process["lost"] == true, time(&process["started_at"])) {
                    (true, _) => format!("silent for {}", rough(Duration::from_secs(silent))),
                    (false, Some(started)) => format!("up {}", rough(self.since(started))),
                    (false, None) => String::new(),
                };
                let configuration = match (number(&process["revision"]), number(&process["revisions_behind"])) {
                    (Some(0) | None, _) => String::new(),
                    (Some(revision), Some(0) | None) => format!("revision {revision}"),
                    (Some(revision), Some(behind)) => format!("revision {revision}, {behind} behind"),
                };
                let host = cell(&process["host"]);
                let place = if host.is_empty() { host } else { format!("{host}/{}", cell(&process["pid"])) };
                vec![roles(&process["roles"]), place, cell(&process["version"]), heard, configuration]
            })
            .collect();
        for (row, process) in aligned(&rows, &[]).into_iter().zip(processes) {
            let is_ready = items(&process["missing"]).is_empty() && items(&process["degraded"]).is_empty();
            let style = if process["lost"] == true {
                BAD
            } else if is_ready {
                Style::new()
            } else {
                ODD
            };
            self.line(format_args!("  {style}{row}{style:#}"));
        }
    }

    fn queues(&mut self, status: &Value) {
        let Some(queues) = status.get("queues") else { return };
        let broker = &status["broker"];
        let room = match (number(&broker["used_bytes"]), number(&broker["max_bytes"]), number(&broker["free_bytes"])) {
            (Some(used), Some(max), _) => format!("{} of {} used", bytes(used), bytes(max)),
            (Some(used), None, Some(free)) => format!("{} used, {} free", bytes(used), bytes(free)),
            _ => String::new(),
        };
        self.heading("queues", &room);
        let Some(queues) = queues.as_array() else {
            return self.line(format_args!("  {DIM}not counted{DIM:#}"));
        };
        let mut rows = vec![["", "waiting", "consumers", "oldest"].map(str::to_owned).to_vec()];
        rows.extend(queues.iter().map(|queue| {
            let oldest = queue["oldest_seconds"].as_f64().map(|seconds| rough(Duration::from_secs_f64(seconds)));
            let by_canary = number(&queue["canary_seconds_ago"]).map(|_| " (canary)");
            vec![
                cell(&queue["queue"]),
                if queue["exists"] == false { "missing".to_owned() } else { cell(&queue["waiting"]) },
                cell(&queue["consumers"]),
                oldest.map_or_else(String::new, |oldest| oldest + by_canary.unwrap_or_default()),
            ]
        }));
        // The embedded broker has no consumers to tell of, and an empty queue no age.
        let is_told = |column: usize| rows.iter().skip(1).any(|row| !row[column].is_empty());
        for column in [2, 3].into_iter().filter(|column| !is_told(*column)).collect::<Vec<_>>() {
            rows.iter_mut().for_each(|row| row[column].clear());
        }
        for (at, row) in aligned(&rows, &[1, 2]).into_iter().enumerate() {
            let is_missing = at > 0 && queues[at - 1]["exists"] == false;
            let style = if at == 0 {
                DIM
            } else if is_missing {
                BAD
            } else {
                Style::new()
            };
            self.line(format_args!("  {style}{row}{style:#}"));
        }
    }

    fn endpoints(&mut self, endpoints: &Value) {
        let (shown, failing) = (items(&endpoints["items"]), number(&endpoints["failing"]).unwrap_or_default());
        let all = failing + number(&endpoints["unnamed"]).unwrap_or_default();
        if all == 0 {
            return;
        }
        let count = if shown.len() as u64 == all { all.to_string() } else { format!("{} of {all}", shown.len()) };
        self.heading("failing endpoints", &count);
        let rows: Vec<_> = shown
            .iter()
            .map(|endpoint| {
                let (health, error) = (&endpoint["health"], &endpoint["health"]["last_error"]);
                let since = time(&health["since"]).map(|since| format!("for {}", rough(self.since(since))));
                let failures = number(&health["consecutive_failures"]).unwrap_or_default();
                let times = if failures == 1 { "once".to_owned() } else { format!("{failures} times") };
                let why = match number(&error["status"]) {
                    Some(status) => format!("status {status}"),
                    None => cell(&error["outcome"]),
                };
                let next = time(&health["next_attempt_at"]).filter(|next| *next > self.now);
                let next = next.map(|next| format!(", next in {}", rough(Duration::from_millis(next - self.now))));
                let waiting = number(&health["waiting"]).unwrap_or_default();
                let name = format!("{}/{}", cell(&endpoint["tenant"]), cell(&endpoint["endpoint_id"]));
                let wait = format!("{waiting} waiting{}", next.unwrap_or_default());
                vec![cut(&name, 28), since.unwrap_or_default(), times, why, wait]
            })
            .collect();
        for (row, endpoint) in aligned(&rows, &[]).into_iter().zip(shown) {
            self.line(format_args!("  {}", cut(&row, WIDTH - 2)));
            let excerpt = cell(&endpoint["health"]["last_error"]["excerpt"]);
            if !excerpt.is_empty() {
                self.line(format_args!("    {DIM}{}{DIM:#}", cut(&one_line(&excerpt), WIDTH - 4)));
            }
        }
    }

    fn records(&mut self, status: &Value) {
        let logs = [("dead letters", "dead_letters"), ("parked", "parked")];
        let logs: Vec<_> = logs.into_iter().filter(|(_, field)| status.get(*field).is_some()).collect();
        self.heading("today", "since midnight UTC");
        let rows: Vec<_> = logs
            .iter()
            .map(|(name, field)| match &status[*field] {
                Value::Null => vec![(*name).to_owned(), "not counted yet".to_owned(), String::new()],
                records => {
                    let (count, why) = reasons(&records["today"]);
                    let (day, _) = reasons(&records["last_24_hours"]);
                    let why = if why.is_empty() { why } else { format!("{why}, ") };
                    vec![(*name).to_owned(), count.to_string(), format!("{why}{day} in 24 h")]
                }
            })
            .collect();
        for row in aligned(&rows, &[1]) {
            self.line(format_args!("  {}", cut(&row, WIDTH - 2)));
        }
    }

    fn quotas(&mut self, status: &Value) {
        let quotas = items(&status["quotas"]);
        if quotas.is_empty() {
            return;
        }
        self.heading("quotas nearly used", "");
        let rows: Vec<_> = quotas
            .iter()
            .take(10)
            .map(|quota| {
                let (used, limit) = (quota["used"].as_f64().unwrap_or(0.0), quota["limit"].as_f64().unwrap_or(1.0));
                let part = format!("{:.0} %", used / limit * 100.0);
                vec![cell(&quota["tenant"]), cell(&quota["quota"]), part, format!("{used} of {limit}")]
            })
            .collect();
        for row in aligned(&rows, &[2]) {
            self.line(format_args!("  {}", cut(&row, WIDTH - 2)));
        }
    }

    fn heading(&mut self, name: &str, more: &str) {
        let name = name.to_uppercase();
        self.line(format_args!("\n{BOLD}{name}{BOLD:#}{DIM}{}{more}{DIM:#}", if more.is_empty() { "" } else { "  " }));
    }

    /// A sentence in lines of at most 80 columns, the first of which has the mark.
    fn wrapped(&mut self, text: &str, mark: char, mark_style: Style, style: Style) {
        for (at, line) in wrap(text, WIDTH - 4).into_iter().enumerate() {
            let mark = if at == 0 { mark } else { ' ' };
            self.line(format_args!("  {mark_style}{mark}{mark_style:#} {style}{line}{style:#}"));
        }
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = writeln!(self.text, "{line}");
    }

    fn since(&self, ms: u64) -> Duration {
        Duration::from_secs(self.now.saturating_sub(ms) / 1_000)
    }
}

fn items(value: &Value) -> &[Value] {
    value.as_array().map_or(&[], Vec::as_slice)
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64()
}

fn time(value: &Value) -> Option<u64> {
    value.as_str().and_then(unix_ms)
}

/// All roles together are those of `standalone`.
fn roles(roles: &Value) -> String {
    match items(roles) {
        all if all.len() == 4 => "standalone".to_owned(),
        some => some.iter().map(cell).collect::<Vec<_>>().join("+"),
    }
}

/// The number of records, and each reason's.
fn reasons(records: &Value) -> (u64, String) {
    let each: Vec<_> = records.as_object().into_iter().flatten().collect();
    let count = each.iter().filter_map(|(_, count)| number(count)).sum();
    (count, each.iter().map(|(reason, count)| format!("{count} {reason}")).collect::<Vec<_>>().join(", "))
}

/// Bytes in a unit that leaves at most four digits.
fn bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB"];
    let (mut size, mut unit) = (bytes, 0);
    while size >= 10_000 && unit + 1 < units.len() {
        (size, unit) = (size / 1_000, unit + 1);
    }
    format!("{size} {}", units[unit])
}

/// The rows with their columns below one another. Columns in `right` are aligned to the right.
fn aligned(rows: &[Vec<String>], right: &[usize]) -> Vec<String> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or_default();
    let width = |column: usize| rows.iter().filter_map(|row| row.get(column)).map(|cell| cell.chars().count()).max();
    let widths: Vec<_> = (0..columns).map(|column| width(column).unwrap_or_default()).collect();
    let row = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).enumerate().filter(|(_, (_, width))| **width > 0);
        let cells = cells.map(|(column, (cell, width))| match right.contains(&column) {
            true => format!("{cell:>width$}"),
            false => format!("{cell:width$}"),
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    rows.iter().map(row).collect()
}

/// The text's words in lines of at most so many characters. A longer word has a line of its own.
fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines = Vec::<String>::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines
}

/// What a receiver answered, without control characters, which a terminal would obey.
fn one_line(text: &str) -> String {
    let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn cut(text: &str, most: usize) -> String {
    if text.chars().count() <= most {
        return text.to_owned();
    }
    text.chars().take(most.saturating_sub(1)).chain(['…']).collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    /// The screen without its colours.
    fn plain(status: &Value) -> String {
        anstream::adapter::strip_str(&screen(status)).to_string()
    }

    #[test]
    fn the_screen_begins_with_the_verdict_and_fits_into_eighty_columns() {
        let status = json!({
            "well": false, "at": "2026-11-30T12:00:00.000Z",
            "problems": [{"code": "process_lost", "message": "The deliverer on box-with-a-rather-long-name.internal.example (pid 47) was last heard of 40 s ago.",
                "hint": "Look at its machine and its log."}],
            "notices": [{"code": "endpoints_failing", "message": "2 endpoints of 1 tenant fail.", "hint": "Each says why."}],
            "processes": [
                {"roles": ["control"], "host": "box", "pid": 12, "version": "0.1.0", "started_at": "2026-11-30T09:00:00.000Z",
                    "silent_seconds": 1, "lost": false, "revision": 7, "revisions_behind": 0, "missing": [], "degraded": []},
                {"roles": ["deliverer"], "host": "box", "pid": 47, "version": "0.1.0", "started_at": "2026-11-30T09:00:00.000Z",
                    "silent_seconds": 40, "lost": true, "revision": 7, "revisions_behind": 1, "missing": [], "degraded": []},
            ],
            "broker": {"state": "ready", "used_bytes": null, "max_bytes": null},
            "queues": [
                {"queue": "ingest", "exists": true, "waiting": 3, "consumers": 1, "oldest_seconds": null},
                {"queue": "deliver.fast", "exists": true, "waiting": 12345, "consumers": 0, "oldest_seconds": 0.25, "canary_seconds_ago": 9},
                {"queue": "delays", "exists": true, "waiting": 40, "consumers": null, "oldest_seconds": null},
            ],
            "endpoints": {"failing": 2, "tenants": 1, "unnamed": 0, "items": [
                {"tenant": "acme", "endpoint_id": "crm", "health": {"state": "failing", "since": "2026-11-30T11:50:00.000Z",
                    "consecutive_failures": 12, "waiting": 40, "next_attempt_at": "2026-11-30T12:02:00.000Z",
                    "last_error": {"at": "2026-11-30T11:59:00.000Z", "outcome": "5xx", "status": 500, "excerpt": "{\n \"error\": \"\u{1b}[31mno\" }"}}},
                {"tenant": "acme", "endpoint_id": "bi", "health": {"state": "failing", "since": "2026-11-30T11:59:57.000Z",
                    "consecutive_failures": 1, "waiting": 1, "last_error": {"at": "2026-11-30T11:59:57.000Z", "outcome": "dns", "status": null}}},
            ]},
            "dead_letters": {"today": {"exhausted": 10, "expired": 4}, "last_24_hours": {"exhausted": 20}},
            "parked": null,
            "quotas": [{"tenant": "acme", "quota": "endpoints", "used": 19.0, "limit": 20.0}],
        });
        let expected = "\
not well: 1 problem                                      2026-11-30 12:00:00 UTC
  ✘ The deliverer on box-with-a-rather-long-name.internal.example (pid 47) was
    last heard of 40 s ago.
    Look at its machine and its log.
  • 2 endpoints of 1 tenant fail.
    Each says why.

PROCESSES
  control    box/12  0.1.0  up 3 h           revision 7
  deliverer  box/47  0.1.0  silent for 40 s  revision 7, 1 behind

QUEUES
                waiting  consumers  oldest
  ingest              3          1
  deliver.fast    12345          0  0.2 s (canary)
  delays             40

FAILING ENDPOINTS  2
  acme/crm  for 10 min  12 times  status 500  40 waiting, next in 2 min
    { \"error\": \" [31mno\" }
  acme/bi   for 3 s     once      dns         1 waiting

TODAY  since midnight UTC
  dead letters               14  10 exhausted, 4 expired, 20 in 24 h
  parked        not counted yet

QUOTAS NEARLY USED
  acme  endpoints  95 %  19 of 20";
        let shown = plain(&status);
        assert_eq!(shown, expected);
        assert!(shown.lines().all(|line| line.chars().count() <= WIDTH));
    }

    #[test]
    fn a_tenants_screen_has_its_own_parts_only() {
        let status = json!({
            "well": true, "at": "2026-11-30T12:00:00.000Z", "problems": [], "notices": [],
            "endpoints": {"failing": 0, "unnamed": 0, "items": []},
            "dead_letters": {"today": {}, "last_24_hours": {}}, "quotas": [],
        });
        let expected = "\
well                                                     2026-11-30 12:00:00 UTC

TODAY  since midnight UTC
  dead letters  0  0 in 24 h";
        assert_eq!(plain(&status), expected);
    }

    #[test]
    fn sizes_have_four_digits_at_most() {
        assert_eq!([0, 9_999, 10_000, 12_345_678].map(bytes), ["0 B", "9999 B", "10 kB", "12 MB"].map(str::to_owned));
    }
}
