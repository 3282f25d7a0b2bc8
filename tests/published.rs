//! What the repository says about itself is true: defaults, README, links, the floors of the crates, and the owners of
//! libraries.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
    process::Command,
};

use carteiro::config::{Config, DEFAULT_TOML, Overrides, load};
use serde_json::Value;
use service::config::{keys_of as toml_keys, optional_keys, uncommented};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn read(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// All files of the repository, relative to its root.
fn files() -> Vec<PathBuf> {
    fn below(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a folder").map(|entry| entry.expect("an entry")) {
            let (path, name) = (entry.path(), entry.file_name());
            if name == "target" || name == ".git" {
                continue;
            }
            match entry.file_type().expect("a type").is_dir() {
                true => below(&path, found),
                false => found.push(path.strip_prefix(root()).expect("below the root").to_owned()),
            }
        }
    }
    let mut found = Vec::new();
    below(root(), &mut found);
    found
}

/// The dotted keys of a value, as [`toml_keys`] gives those of TOML; a key that is not set has no value.
fn keys_of(prefix: &str, value: &Value, found: &mut BTreeSet<String>) {
    for (name, value) in value.as_object().into_iter().flatten() {
        match value {
            Value::Object(below) if !below.is_empty() => keys_of(&format!("{prefix}{name}."), value, found),
            _ => _ = found.insert(format!("{prefix}{name}")),
        }
    }
}

/// The keys that have no default.
fn without_default() -> Vec<String> {
    optional_keys::<Config>(DEFAULT_TOML).expect("TOML")
}

/// The defaults, with every optional key set.
fn complete() -> Config {
    let values = without_default().into_iter().map(|key| {
        let text = match key.as_str() {
            "store.url" => "file:conf.d",
            "http.public_url" => "https://carteiro.example",
            "deliverer.proxy" => "http://127.0.0.1:3128",
            _ => "a text of no meaning",
        };
        (key, text.to_owned())
    });
    let nowhere = tempfile::NamedTempFile::new().expect("an empty file");
    let overrides = Overrides { file: Some(nowhere.path().to_owned()), values: values.collect() };
    load(&overrides, []).expect("it can be used").config
}

#[test]
fn the_defaults_have_every_key_that_can_be_set_and_no_other() {
    let mut ours = BTreeSet::new();
    keys_of("", &serde_json::to_value(complete()).expect("it can be written"), &mut ours);
    let mut published: BTreeSet<_> = toml_keys(DEFAULT_TOML).expect("TOML").into_iter().collect();
    // A section all of whose keys are optional is there, and empty.
    published.remove("store");
    published.extend(without_default());
    assert_eq!(published, ours);
}

#[test]
fn every_key_of_the_defaults_is_explained_above_it() {
    assert_eq!(uncommented(DEFAULT_TOML), Vec::<String>::new());
    for key in without_default() {
        let name = key.rsplit('.').next().expect("a name");
        assert!(DEFAULT_TOML.contains(&format!("# {name} =")), "{key} is not in a default.toml, commented out");
    }
}

#[test]
fn usage_and_the_audit_log_are_kept_a_year_or_more_and_cannot_be_kept_for_no_time_at_all() {
    let nowhere = tempfile::NamedTempFile::new().expect("an empty file");
    let with = |days: Option<&str>| {
        let keys = ["store.audit_days", "store.usage_days"].iter();
        let values =
            days.map(|days| keys.map(|key| ((*key).to_owned(), days.to_owned())).collect()).unwrap_or_default();
        load(&Overrides { file: Some(nowhere.path().to_owned()), values }, [])
    };
    let days = |config: &Config| config.store.audit_age().as_secs() / (24 * 60 * 60);
    assert_eq!(days(&with(None).expect("the defaults").config), 365);
    let usage_days = |config: &Config| config.store.usage_age().as_secs() / (24 * 60 * 60);
    assert_eq!(usage_days(&with(None).expect("the defaults").config), 400);
    assert_eq!(usage_days(&with(Some("30")).expect("a month").config), 30);
    assert_eq!(days(&with(Some("30")).expect("a month").config), 30);
    for wrong in ["0", "-1", "1.5", "a year"] {
        let refused = with(Some(wrong)).err().expect("it is refused").to_string();
        assert!(refused.contains("store.audit_days") || refused.contains("store.usage_days"), "{refused}");
    }
}

#[test]
fn each_crate_uses_only_the_floors_below_its_own() {
    const FLOORS: [&str; 5] = ["schemas", "service", "broker", "store", "history"];
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let allowed: &[&str] = match name {
            "schemas" => &[],
            "service" => &["schemas"],
            "broker" | "store" | "history" => &["schemas", "service"],
            "producer" | "router" | "deliverer" | "control" => &FLOORS,
            // The binary, which wires all of them.
            "carteiro" => continue,
            other => panic!("{other} has no floor: give it one here and in ARCHITECTURE.md"),
        };
        let dependencies = package["dependencies"].as_array().expect("a list");
        for dependency in dependencies.iter().filter(|dependency| dependency["path"].is_string()) {
            let used = dependency["name"].as_str().expect("a name");
            // A crate's own tests may use the crate with its feature `testing`.
            let is_itself = dependency["kind"] == "dev" && used == name;
            assert!(is_itself || allowed.contains(&used), "{name} uses {used}, which is not below it");
        }
    }
}

#[test]
fn only_tests_enable_the_features_for_tests() {
    for manifest in files().iter().filter(|file| file.file_name().is_some_and(|name| name == "Cargo.toml")) {
        let text = fs::read_to_string(root().join(manifest)).expect("text");
        let mut section = "";
        for line in text.lines() {
            if line.starts_with('[') {
                section = line;
            }
            let enables = line.contains("\"testing\"");
            let is_for_tests =
                section == "[dev-dependencies]" || section == "[features]" || section.starts_with("[[test]]");
            assert!(!enables || is_for_tests, "{}: {section} enables a feature for tests: {line}", manifest.display());
        }
    }
}

#[test]
fn each_foreign_library_is_used_only_by_its_owner() {
    let owners: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("lapin", &["broker/src/rabbitmq/", "broker/tests/rabbitmq/", "tests/harness/amqp_client.rs"][..]),
        (
            "rusqlite",
            &[
                "service/src/sqlite_file.rs",
                "broker/src/sqlite/",
                "broker/tests/contract/sqlite",
                "store/src/sqlite/",
                "history/src/sqlite/",
                "tests/erasing.rs",
            ],
        ),
        (
            "tokio_postgres",
            &[
                "service/src/postgres/",
                "store/src/postgres/",
                "store/tests/contract/postgres",
                "history/src/postgres/",
                "history/tests/contract/postgres",
                "tests/erasing.rs",
            ],
        ),
        ("chacha20poly1305", &["store/src/seal.rs"]),
        ("reqwest", &["src/cli/client.rs", "tests/"]),
        ("hyper", &["deliverer/src/post/"]),
        ("hyper_util", &["deliverer/src/post/"]),
    ]);
    for file in files().iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(root().join(file)).expect("text");
        for (library, places) in &owners {
            let is_used = text.lines().any(|line| {
                let line = line.trim_start();
                // Neither a comment nor the name of a log target.
                let is_quoted = line.contains(&format!("\"{library}"));
                !line.starts_with("//") && !is_quoted && line.contains(&format!("{library}::"))
            });
            let is_owner = places.iter().any(|place| file.to_string_lossy().starts_with(place));
            assert!(!is_used || is_owner, "{} uses {library}", file.display());
        }
    }
}

#[test]
fn no_file_names_a_folder_of_somebodys_machine() {
    // Put together here, so that this file does not name any.
    let homes = ["home", "root", "Users"].map(|name| format!("/{name}/"));
    for file in files() {
        let bytes = fs::read(root().join(&file)).expect("a file");
        let text = String::from_utf8_lossy(&bytes);
        for home in &homes {
            assert!(!text.contains(home.as_str()), "{} names {home}", file.display());
        }
    }
}

/// The anchor of a heading in Markdown.
pub(crate) fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|letter| letter.is_alphanumeric() || " -_".contains(*letter));
    kept.collect::<String>().to_lowercase().replace(' ', "-")
}

/// The anchors of all headings of a page in Markdown.
fn anchors(page: &str) -> BTreeSet<String> {
    let headings = page.lines().filter(|line| line.starts_with('#'));
    headings.map(|line| anchor(line.trim_start_matches('#').trim())).collect()
}

/// The pages in Markdown that a text refers to, each with its anchor; an empty page is the text's own. URLs are left out.
fn references(text: &str) -> impl Iterator<Item = (&str, Option<&str>)> {
    let words = text.split(|letter: char| letter.is_whitespace() || "()[]<>`'\",;|".contains(letter));
    words.filter(|word| !word.contains("://")).filter_map(|word| {
        let word = word.trim_end_matches(['.', ':']);
        let (page, anchor) = word.split_once('#').map_or((word, None), |(page, anchor)| (page, Some(anchor)));
        let is_page = page.ends_with(".md") && page.len() > ".md".len() && !page.starts_with('*');
        is_page.then_some((page, anchor))
    })
}

#[test]
fn every_reference_to_a_document_leads_to_one_and_to_its_heading() {
    for file in files() {
        let Ok(text) = fs::read_to_string(root().join(&file)) else { continue };
        for (page, heading) in references(&text) {
            // From the file's own folder as in Markdown, or from the root as in code and comments.
            let beside = file.parent().expect("a folder").join(page);
            let found = [beside, PathBuf::from(page)].into_iter().find(|path| root().join(path).is_file());
            let found = found.unwrap_or_else(|| panic!("{} refers to {page}, which is not here", file.display()));
            if let Some(heading) = heading {
                let page = fs::read_to_string(root().join(&found)).expect("text");
                assert!(
                    anchors(&page).contains(heading),
                    "{} refers to {}#{heading}, which is no heading",
                    file.display(),
                    found.display()
                );
            }
        }
        // Sections of documents that are not in the repository. RFCs are cited by their number.
        for line in text.lines().filter(|line| line.contains('\u{a7}')) {
            assert!(line.contains("RFC"), "{}: a section of what? {line}", file.display());
        }
    }
}

#[test]
fn a_reference_is_found_in_prose_and_in_links() {
    // Put together here, so that this file itself does not refer to them.
    let page = |name: &str| format!("{name}.{}", "md");
    let [a, b, c] = ["docs/a", "b", "c"].map(page);
    let text = format!("See [why]({a}#one-two), `{b}`; {c}: and https://example.com/{b}, *.md, e.markdown.");
    let expected = [(a.as_str(), Some("one-two")), (b.as_str(), None), (c.as_str(), None)];
    assert_eq!(references(&text).collect::<Vec<_>>(), expected);
    assert_eq!(anchor("`PUT` keeps: what *carteiro* itself changes"), "put-keeps-what-carteiro-itself-changes");
}

/// The tests that a row of docs/guarantees.md names, as (test, file).
fn named_tests(row: &str) -> Vec<(&str, &str)> {
    let shown_by = row.rsplit_once(" | ").map_or("", |(_, shown_by)| shown_by);
    let (mut pairs, mut tests) = (Vec::new(), Vec::new());
    for name in shown_by.split('`').skip(1).step_by(2) {
        match name.contains('/') {
            true => pairs.extend(tests.drain(..).map(|test| (test, name))),
            false => tests.push(name),
        }
    }
    assert!(tests.is_empty(), "no file follows {tests:?}");
    pairs
}

#[test]
fn every_guarantee_names_tests_that_exist() {
    let page = read("docs/guarantees.md");
    let rows = page.lines().filter(|line| line.starts_with("| ") && *line != "| promise | shown by |");
    for row in rows {
        let tests = named_tests(row);
        assert!(!tests.is_empty(), "nothing shows: {row}");
        for (test, file) in tests {
            let text = read(file);
            let is_there = ["(", "<"].iter().any(|next| text.contains(&format!("fn {test}{next}")));
            assert!(is_there, "there is no test {test} in {file}");
        }
    }
}

#[test]
fn the_readme_shows_only_commands_that_exist() {
    let (readme, mut shown) = (read("README.md"), BTreeSet::new());
    let blocks = readme.split("```sh").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        let line = line.split('#').next().unwrap_or_default().replace("cargo run --release --", "carteiro");
        for command in line.split(['|', '&']) {
            let words = command.split_whitespace().skip_while(|word| word.starts_with("CARTEIRO_"));
            let words: Vec<_> = words.collect();
            let Some((&"carteiro", arguments)) = words.split_first() else { continue };
            // With --help the same words are parsed, and nothing is run.
            let output = Command::new(env!("CARGO_BIN_EXE_carteiro")).args(arguments).arg("--help").output();
            assert!(output.expect("it runs").status.success(), "there is no `{command}`");
            shown.extend(arguments.first().map(|name| (*name).to_owned()));
        }
    }
    assert!(shown.contains("demo") && shown.contains("publish"), "a newcomer's commands are missing: {shown:?}");
}
