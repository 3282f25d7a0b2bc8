//! What we publish about ourselves stays true: defaults, README, and who may import whom.

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

/// All files of ours, relative to the root.
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

/// The defaults, with every optional key set to something.
fn complete() -> Config {
    let values = without_default().into_iter().map(|key| {
        let text = match key.as_str() {
            "store.url" => "file:conf.d",
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
fn the_audit_log_is_kept_a_year_and_cannot_be_kept_for_no_time_at_all() {
    let nowhere = tempfile::NamedTempFile::new().expect("an empty file");
    let with = |days: Option<&str>| {
        let values = days.map(|days| ("store.audit_days".to_owned(), days.to_owned())).into_iter().collect();
        load(&Overrides { file: Some(nowhere.path().to_owned()), values }, [])
    };
    let days = |config: &Config| config.store.audit_age().as_secs() / (24 * 60 * 60);
    assert_eq!(days(&with(None).expect("the defaults").config), 365);
    assert_eq!(days(&with(Some("30")).expect("a month").config), 30);
    for wrong in ["0", "-1", "1.5", "a year"] {
        let refused = with(Some(wrong)).err().expect("it is refused").to_string();
        assert!(refused.contains("store.audit_days"), "{refused}");
    }
}

#[test]
fn each_crate_imports_only_the_floors_below_its_own() {
    const FLOORS: [&str; 4] = ["schemas", "service", "broker", "store"];
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--format-version", "1", "--no-deps", "--offline", "--manifest-path"])
        .arg(root().join("Cargo.toml"))
        .output()
        .expect("cargo runs");
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    let mut seen = BTreeSet::new();
    for package in metadata["packages"].as_array().expect("packages") {
        let name = package["name"].as_str().expect("a name");
        let dependencies = package["dependencies"].as_array().expect("a list");
        let ours = dependencies.iter().filter(|dependency| dependency["path"].is_string());
        let ours: BTreeSet<_> = ours.map(|dependency| dependency["name"].as_str().expect("a name")).collect();
        let allowed = match name {
            "carteiro" => continue,
            "schemas" => BTreeSet::new(),
            "service" => BTreeSet::from(["schemas"]),
            "broker" | "store" => BTreeSet::from(["schemas", "service"]),
            _ => BTreeSet::from(FLOORS),
        };
        assert!(ours.is_subset(&allowed), "{name} imports {:?}", ours.difference(&allowed));
        seen.insert(name);
    }
    let expected = ["broker", "control", "deliverer", "producer", "router", "schemas", "service", "store"];
    assert_eq!(seen, BTreeSet::from(expected));
}

#[test]
fn each_foreign_library_has_its_place() {
    let owners: BTreeMap<&str, &[&str]> = BTreeMap::from([
        ("lapin", &["broker/src/rabbitmq/", "broker/tests/rabbitmq/", "tests/harness/amqp.rs"][..]),
        (
            "rusqlite",
            &["service/src/sqlite_file.rs", "broker/src/sqlite/", "broker/tests/contract/sqlite", "store/src/sqlite/"],
        ),
        ("tokio_postgres", &["store/src/postgres/", "store/tests/contract/postgres"]),
        ("chacha20poly1305", &["store/src/seal.rs"]),
        ("reqwest", &["src/cli/client.rs", "tests/"]),
        ("hyper", &["deliverer/src/post/"]),
        ("hyper_util", &["deliverer/src/post/"]),
    ]);
    for file in files().iter().filter(|file| file.extension().is_some_and(|extension| extension == "rs")) {
        let text = fs::read_to_string(root().join(file)).expect("text");
        for (library, listeners) in &owners {
            let names_it = text.lines().any(|line| {
                let line = line.trim_start();
                // Not comments, nor names of log targets.
                let quoted = line.contains(&format!("\"{library}"));
                !line.starts_with("//") && !quoted && line.contains(&format!("{library}::"))
            });
            let allowed = listeners.iter().any(|place| file.to_string_lossy().starts_with(place));
            assert!(!names_it || allowed, "{} names {library}", file.display());
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

#[test]
fn the_readme_shows_commands_that_exist() {
    let (readme, mut shown) = (read("README.md"), 0);
    let blocks = readme.split("```sh").skip(1).filter_map(|rest| rest.split("```").next());
    for line in blocks.flat_map(str::lines) {
        let line = line.split('#').next().unwrap_or_default().replace("cargo run --release --", "carteiro");
        for command in line.split(['|', '&']) {
            let words = command.split_whitespace().skip_while(|word| word.starts_with("CARTEIRO_"));
            let words: Vec<_> = words.collect();
            let Some((&"carteiro", arguments)) = words.split_first() else { continue };
            // Its help parses the same words, and runs nothing.
            let output = Command::new(env!("CARGO_BIN_EXE_carteiro")).args(arguments).arg("--help").output();
            assert!(output.expect("it runs").status.success(), "there is no `{command}`");
            shown += 1;
        }
    }
    assert!(shown >= 6, "only {shown} commands were found");
}
