//! `docs/logs.md` has every line that the sources log, with its level and its fields, and no other.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

const LEVELS: [&str; 5] = ["error", "warn", "info", "debug", "trace"];
/// Other items of `tracing` that the sources use: none of them logs a line.
const OTHERS: [&str; 8] =
    ["enabled!", "Level", "Metadata", "field::display", "info_span!", "subscriber", "Subscriber", "Instrument"];

/// The crates that log.
pub(crate) const CRATES: [&str; 9] =
    ["broker", "carteiro", "control", "deliverer", "history", "producer", "router", "service", "store"];

/// A log line in the sources or on the page.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogLine {
    pub(crate) level: String,
    pub(crate) fields: BTreeSet<String>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The source files of the binary, without those of tests.
fn sources() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let (path, name) = (entry.path(), entry.file_name());
            match entry.file_type().expect("a type").is_dir() {
                true if name == "tests" => {}
                true => below(&path, found),
                false if name == "tests.rs" || name == "testing.rs" => {}
                false if path.extension().is_some_and(|extension| extension == "rs") => found.push(path),
                false => {}
            }
        }
    }
    let mut found = Vec::new();
    below(&root().join("src"), &mut found);
    for entry in fs::read_dir(root()).expect("a folder") {
        let folder = entry.expect("an entry").path();
        if folder.join("Cargo.toml").is_file() && folder.join("src").is_dir() {
            below(&folder.join("src"), &mut found);
        }
    }
    found
}

/// The arguments of a call. `text` begins after the opening parenthesis.
fn arguments(text: &str) -> Vec<String> {
    let (mut depth, mut is_quoted, mut found) = (1, false, vec![String::new()]);
    for (at, c) in text.char_indices() {
        match c {
            '"' if !text[..at].ends_with('\\') => is_quoted = !is_quoted,
            _ if is_quoted => {}
            '(' | '[' | '{' => depth += 1,
            ')' | ']' | '}' => depth -= 1,
            ',' if depth == 1 => {
                found.push(String::new());
                continue;
            }
            _ => {}
        }
        if depth == 0 {
            break;
        }
        found.last_mut().expect("one").push(c);
    }
    found.retain(|argument| !argument.trim().is_empty());
    found.iter().map(|argument| argument.trim().to_owned()).collect()
}

/// The name and the fields of a log line, from the arguments of the macro.
fn read(arguments: &[String]) -> (String, BTreeSet<String>) {
    let (name, fields) = arguments.split_last().expect("a name");
    let name = name.strip_prefix('"').and_then(|name| name.strip_suffix('"'));
    let name = name.unwrap_or_else(|| panic!("{arguments:?} does not end with a name"));
    let fields = fields.iter().map(|field| {
        let name = field.split_once('=').map_or(field.as_str(), |(name, _)| name);
        name.trim().trim_start_matches(['%', '?']).to_owned()
    });
    (name.to_owned(), fields.collect())
}

/// All log lines in the sources, by name.
fn logged() -> BTreeMap<String, LogLine> {
    let mut lines = BTreeMap::<String, LogLine>::new();
    for file in sources() {
        let text = fs::read_to_string(&file).expect("text");
        let text = text.split("#[cfg(test)]\nmod tests {").next().expect("the code");
        let code: Vec<_> = text.lines().filter(|line| !line.trim_start().starts_with("//")).collect();
        let code = code.join("\n");
        for (at, begin) in code.match_indices("tracing::") {
            let after = &code[at + begin.len()..];
            let level = LEVELS.into_iter().find(|level| after.starts_with(&format!("{level}!(")));
            let Some(level) = level else {
                let is_known = OTHERS.iter().any(|other| after.starts_with(other));
                assert!(is_known, "{}: tracing::{}…", file.display(), after.lines().next().unwrap_or_default());
                continue;
            };
            let (name, fields) = read(&arguments(&after[level.len() + 2..]));
            let line = LogLine { level: level.to_owned(), fields };
            let known = lines.entry(name.clone()).or_insert_with(|| line.clone());
            assert_eq!(*known, line, "{} logs {name} with other fields or at another level", file.display());
        }
        for level in LEVELS {
            let all = text.matches(&format!("{level}!(")).count();
            let found = text.matches(&format!("tracing::{level}!(")).count();
            assert_eq!(all, found, "{}: write tracing::{level}!, so that this test finds it", file.display());
        }
    }
    lines
}

fn page() -> String {
    fs::read_to_string(root().join("docs/logs.md")).expect("docs/logs.md")
}

/// The texts in backquotes.
fn quoted(cell: &str) -> Vec<String> {
    cell.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

/// The rows of the page's tables whose first heading is `head`, as cells.
fn rows(page: &str, head: &str) -> Vec<Vec<String>> {
    let begin = format!("\n| {head} |");
    let tables = page.split(&begin).skip(1);
    let rows = tables.flat_map(|table| table.lines().skip(2).take_while(|line| line.starts_with('|')));
    rows.map(|row| row.trim_matches('|').split(" | ").map(|cell| cell.trim().to_owned()).collect()).collect()
}

/// All log lines on the page, by name.
pub(crate) fn documented() -> BTreeMap<String, LogLine> {
    let page = page();
    let line = |row: Vec<String>| {
        let [name, level, fields, when] = &row[..] else { panic!("{row:?} has not four cells") };
        assert!(!when.is_empty(), "{name} is not explained");
        let [name] = &quoted(name)[..] else { panic!("{name} is no name") };
        (name.clone(), LogLine { level: level.clone(), fields: quoted(fields).into_iter().collect() })
    };
    rows(&page, "line").into_iter().map(line).collect()
}

#[test]
fn the_page_has_every_line_with_its_level_and_its_fields_and_no_other() {
    let (logged, documented) = (logged(), documented());
    for (name, line) in &logged {
        let is_form = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_lowercase() || c == '_');
        assert!(
            name.split('.').count() == 2 && name.split('.').all(is_form),
            "{name} is not of the form what.happened"
        );
        assert_eq!(Some(line), documented.get(name), "docs/logs.md, {name}");
    }
    let gone: Vec<_> = documented.keys().filter(|name| !logged.contains_key(*name)).collect();
    assert!(gone.is_empty(), "docs/logs.md has lines that nobody logs: {gone:?}");
    for name in ["process.started", "events.accepted", "event.routed", "delivery.attempted", "config.changed"] {
        assert!(logged.contains_key(name), "the search finds no {name}: it is broken");
    }
}

#[test]
fn the_page_explains_every_field_once_and_no_other() {
    let used: BTreeSet<_> = logged().into_values().flat_map(|line| line.fields).collect();
    let mut explained = BTreeSet::new();
    for row in rows(&page(), "field") {
        assert_eq!(row.len(), 3, "{row:?}");
        for field in quoted(&row[0]) {
            assert!(explained.insert(field.clone()), "{field} is explained twice");
        }
    }
    assert_eq!(used, explained);
}

#[test]
fn a_call_over_several_arguments_is_read_with_its_name_and_fields() {
    let call = r#"%error, ?state, a.b = f(x, [y, z]), detail = format!("a, (b"), next = up.map(|it| it.c), "what.happened") and more"#;
    let (name, fields) = read(&arguments(call));
    assert_eq!(name, "what.happened");
    let expected = ["error", "state", "a.b", "detail", "next"].map(str::to_owned);
    assert_eq!(fields, BTreeSet::from(expected));
}
