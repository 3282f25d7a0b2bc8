//! Loading a configuration, as an operator sees it.

use std::collections::BTreeMap;
use std::path::Path;

use schemars::JsonSchema;
use schemas::Secret;
use serde::{Deserialize, Serialize};

use super::*;

const DEFAULTS: &str = r#"
data_dir = "./carteiro-data"
[broker]
url = "embedded:"
[deliverer]
slots = 64
allow_networks = []
jitter = 0.2
proxied = false
[labels]
"#;

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Config {
    data_dir: String,
    broker: Broker,
    deliverer: Deliverer,
    #[serde(default)]
    store: Store,
    labels: BTreeMap<String, String>,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Broker {
    url: String,
}

#[derive(Debug, Serialize, Deserialize, JsonSchema)]
struct Deliverer {
    slots: u16,
    allow_networks: Vec<String>,
    jitter: f64,
    proxied: bool,
}

#[derive(Debug, Default, Serialize, Deserialize, JsonSchema)]
struct Store {
    url: Option<String>,
    encryption_key: Option<Secret>,
}

fn loader() -> Loader<Config> {
    Loader::new(DEFAULTS).unwrap().renamed("deliverer.workers", "deliverer.slots").removed("broker.features")
}

/// Loads with a file `carteiro.toml` of this text; its folder is left out of errors and warnings.
fn with_file(text: &str) -> Result<LoadedConfig<Config>, String> {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carteiro.toml");
    std::fs::write(&path, text).unwrap();
    let without_folder = |text: String| text.replace(&format!("{}/", folder.path().display()), "");
    let mut loaded = loader().file_if_present(&path).map_err(ConfigErrors::from).and_then(load);
    for deprecation in loaded.iter_mut().flat_map(|loaded| &mut loaded.deprecations) {
        deprecation.origin = without_folder(deprecation.origin.clone());
    }
    loaded.map_err(|error| without_folder(error.to_string()))
}

fn with_variables(variables: &[(&str, &str)]) -> Result<LoadedConfig<Config>, String> {
    let variables = variables.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned()));
    load(loader().environment(variables)).map_err(|errors| errors.to_string())
}

fn load(loader: Loader<Config>) -> Result<LoadedConfig<Config>, ConfigErrors> {
    loader.load(|_| Vec::new())
}

#[test]
fn flags_win_over_the_environment_which_wins_over_the_file_which_wins_over_the_defaults() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("mine.toml");
    std::fs::write(&path, "data_dir = 'file'\n[broker]\nurl = 'file'\n[deliverer]\nslots = 1").unwrap();
    let variables =
        [("CARTEIRO_BROKER__URL", "variable"), ("CARTEIRO_DELIVERER__SLOTS", "2")].map(|(n, t)| (n.into(), t.into()));
    let loader = loader().file(&path).unwrap().environment(variables).flags([("deliverer.slots", "3")]);
    let LoadedConfig { config, .. } = load(loader).unwrap();
    assert_eq!((config.data_dir.as_str(), config.broker.url.as_str()), ("file", "variable"));
    assert_eq!((config.deliverer.slots, config.deliverer.jitter), (3, 0.2));
}

#[test]
fn a_file_that_was_named_must_exist_and_the_usual_one_need_not() {
    let missing = Path::new("no-such-folder/carteiro.toml");
    assert!(loader().file_if_present(missing).is_ok());
    let error = loader().file(missing).err().unwrap().to_string();
    assert!(error.starts_with("no-such-folder/carteiro.toml: No such file"), "{error}");
}

#[test]
fn unknown_keys_are_refused_with_the_nearest_known_one_and_where_they_are() {
    for (text, refusal) in [
        ("[deliverer]\nslotz = 1", "deliverer.slotz: unknown key, did you mean deliverer.slots? (in carteiro.toml)"),
        ("[deliverr]\nslots = 1", "deliverr: unknown key, did you mean deliverer? (in carteiro.toml)"),
        ("slots = 1", "slots: unknown key, did you mean deliverer.slots? (in carteiro.toml)"),
        ("[broker]\nsomething_else = 1", "broker.something_else: unknown key (in carteiro.toml)"),
        ("deliverer = 1", "deliverer: is a section, not a value (in carteiro.toml)"),
    ] {
        assert_eq!(with_file(text).err().as_deref(), Some(refusal));
    }
    assert_eq!(
        with_variables(&[("CARTEIRO_DELIVERER__SLOTZ", "1")]).err().unwrap(),
        "deliverer.slotz: unknown key, did you mean deliverer.slots? (in CARTEIRO_DELIVERER__SLOTZ)"
    );
}

#[test]
fn values_of_the_wrong_type_or_out_of_range_are_refused_in_one_line() {
    for (text, refusal) in [
        (
            "[deliverer]\nslots = 'many'",
            "deliverer.slots: expected a whole number from 0 to 65535, found text (in carteiro.toml)",
        ),
        (
            "[deliverer]\nslots = 70000",
            "deliverer.slots: expected a whole number from 0 to 65535, found 70000 (in carteiro.toml)",
        ),
        (
            "[deliverer]\nslots = -1",
            "deliverer.slots: expected a whole number from 0 to 65535, found -1 (in carteiro.toml)",
        ),
        (
            "[deliverer]\nallow_networks = 'a'",
            "deliverer.allow_networks: expected a list, found text (in carteiro.toml)",
        ),
        (
            "[store]\nencryption_key = 12345",
            "store.encryption_key: expected text, found something else (in carteiro.toml)",
        ),
    ] {
        assert_eq!(with_file(text).err().as_deref(), Some(refusal));
    }
    assert_eq!(
        with_variables(&[("CARTEIRO_DELIVERER__SLOTS", "many")]).err().unwrap(),
        "deliverer.slots: expected a whole number, found `many` (in CARTEIRO_DELIVERER__SLOTS)"
    );
}

#[test]
fn everything_that_is_wrong_is_found_at_once() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("carteiro.toml");
    std::fs::write(&path, "[deliverer]\nslots = 'many'\njitter = 'some'\nslotz = 1\n[store]\nurl = 5").unwrap();
    let loader = loader().file(&path).unwrap().flags([("broker.ulr", "x"), ("deliverer.proxied", "maybe")]);
    let errors = loader.load(|loaded| vec![loaded.error("broker.url", "is away")]).err().unwrap().to_string();
    let keys: Vec<_> = errors.lines().filter_map(|line| Some(line.split_once(':')?.0)).collect();
    let expected = [
        "deliverer.slotz",
        "broker.ulr",
        "deliverer.proxied",
        "deliverer.jitter",
        "deliverer.slots",
        "store.url",
        "broker.url",
    ];
    assert_eq!(keys, expected, "{errors}");
}

#[test]
fn a_variable_that_nearly_is_a_key_is_refused() {
    for (name, meant) in [
        ("CARTEIRO_DELIVERER_SLOTS", "CARTEIRO_DELIVERER__SLOTS"),
        ("CARTEIRO_DELIVERER_ALLOW_NETWORK", "CARTEIRO_DELIVERER__ALLOW_NETWORKS"),
        ("CARTEIRO_DATADIR", "CARTEIRO_DATA_DIR"),
    ] {
        let refusal = format!("{name}: sets nothing, did you mean {meant}?");
        assert_eq!(with_variables(&[(name, "1")]).err(), Some(refusal));
    }
}

#[test]
fn broken_toml_is_refused_with_its_line() {
    let error = with_file("[deliverer]\nslots 1").err().unwrap();
    assert!(error.starts_with("carteiro.toml:2: ") && !error.contains('\n'), "{error}");
}

#[test]
fn variables_become_what_their_key_holds() {
    let loaded = with_variables(&[
        ("CARTEIRO_DATA_DIR", "5"),
        ("CARTEIRO_STORE__ENCRYPTION_KEY", "12345"),
        ("CARTEIRO_DELIVERER__ALLOW_NETWORKS", "10.0.0.0/8,::1/128"),
        ("CARTEIRO_DELIVERER__JITTER", "0"),
        ("CARTEIRO_DELIVERER__PROXIED", "true"),
        ("CARTEIRO_LABELS__ZONE", "7"),
    ]);
    let config = loaded.unwrap().config;
    assert_eq!(config.data_dir, "5");
    assert_eq!(config.store.encryption_key.as_ref().map(Secret::reveal), Some("12345"));
    assert_eq!(config.deliverer.allow_networks, ["10.0.0.0/8", "::1/128"]);
    assert_eq!((config.deliverer.jitter, config.deliverer.proxied), (0.0, true));
    assert_eq!(config.labels["zone"], "7");
}

#[test]
fn variables_that_kubernetes_sets_and_empty_optional_ones_are_ignored() {
    let ignored = [
        ("CARTEIRO_PORT", "tcp://10.0.0.1:80"),
        ("CARTEIRO_SERVICE_HOST", "10.0.0.1"),
        ("CARTEIRO_BROKER", "x"),
        ("CARTEIRO_BROKER_PORT", "tcp://10.0.0.1:80"),
        ("CARTEIRO_SERVER", "http://127.0.0.1:8080"),
        ("CARTEIRO_STORE__URL", ""),
        ("HOME", "/"),
    ];
    let loaded = with_variables(&ignored).unwrap();
    assert_eq!(loaded.config.store.url, None);
    assert_eq!(loaded.config.broker.url, "embedded:");
}

#[test]
fn the_configuration_is_shown_with_its_origins_and_without_secrets() {
    let variables = [
        ("CARTEIRO_BROKER__URL", "amqp://user:hunter2@host"),
        ("CARTEIRO_STORE__ENCRYPTION_KEY", "hunter3"),
        ("CARTEIRO_DATA_DIR", "quoted \"\\ text"),
    ];
    let shown = with_variables(&variables).unwrap().show().unwrap();
    let expected = r#"data_dir = "quoted \"\\ text"  # CARTEIRO_DATA_DIR

[broker]
url = "amqp://user:***@host"  # CARTEIRO_BROKER__URL

[deliverer]
slots = 64  # default
allow_networks = []  # default
jitter = 0.2  # default
proxied = false  # default

[store]
encryption_key = "***"  # CARTEIRO_STORE__ENCRYPTION_KEY

[labels]
"#;
    assert_eq!(shown, expected);
    assert!(keys_of(&shown).unwrap().contains(&"store.encryption_key".to_owned()), "what is shown is TOML");
}

#[test]
fn an_error_that_a_role_finds_itself_says_where_the_value_came_from() {
    let loaded = with_variables(&[("CARTEIRO_DELIVERER__SLOTS", "0")]).unwrap();
    assert_eq!(
        loaded.error("deliverer.slots", "must be at least 1").to_string(),
        "deliverer.slots: must be at least 1 (in CARTEIRO_DELIVERER__SLOTS)"
    );
}

fn warnings(loaded: &LoadedConfig<Config>) -> Vec<String> {
    loaded.deprecations.iter().map(ToString::to_string).collect()
}

#[test]
fn a_renamed_key_gives_its_value_to_its_successor_with_a_warning() {
    let loaded = with_file("[deliverer]\nworkers = 7").unwrap();
    assert_eq!(loaded.config.deliverer.slots, 7);
    assert_eq!(
        warnings(&loaded),
        ["deliverer.workers is now deliverer.slots, which takes its value (in carteiro.toml)"]
    );

    let loaded = with_variables(&[("CARTEIRO_DELIVERER__WORKERS", "8")]).unwrap();
    assert_eq!(loaded.config.deliverer.slots, 8);
    let expected = "deliverer.workers is now deliverer.slots, which takes its value (in CARTEIRO_DELIVERER__WORKERS)";
    assert_eq!(warnings(&loaded), [expected]);
}

#[test]
fn a_renamed_key_beside_its_successor_changes_nothing() {
    let loaded = with_file("[deliverer]\nworkers = 7\nslots = 1").unwrap();
    assert_eq!((loaded.config.deliverer.slots, loaded.deprecations.len()), (1, 1));
    let old = ("CARTEIRO_DELIVERER__WORKERS", "8");
    let new = ("CARTEIRO_DELIVERER__SLOTS", "2");
    for variables in [[old, new], [new, old]] {
        let loaded = with_variables(&variables).unwrap();
        assert_eq!((loaded.config.deliverer.slots, loaded.deprecations.len()), (2, 1));
    }
}

#[test]
fn a_renamed_key_with_a_bad_value_is_refused_under_its_new_name() {
    assert_eq!(
        with_variables(&[("CARTEIRO_DELIVERER__WORKERS", "many")]).err().unwrap(),
        "deliverer.slots: expected a whole number, found `many` (in CARTEIRO_DELIVERER__WORKERS)"
    );
}

#[test]
fn a_removed_key_is_ignored_with_a_warning() {
    let loaded = with_file("[broker]\nfeatures = ['x']").unwrap();
    assert_eq!(warnings(&loaded), ["broker.features no longer exists and is ignored (in carteiro.toml)"]);
    let loaded = with_variables(&[("CARTEIRO_BROKER__FEATURES", "x")]).unwrap();
    assert_eq!(warnings(&loaded), ["broker.features no longer exists and is ignored (in CARTEIRO_BROKER__FEATURES)"]);
    assert!(warnings(&with_file("[broker]\nurl = 'x'").unwrap()).is_empty(), "nothing to warn about");
}

#[test]
fn keys_without_a_default_are_those_of_the_schema_that_the_defaults_lack() {
    assert_eq!(optional_keys::<Config>(DEFAULTS).unwrap(), ["store.encryption_key", "store.url"]);
}
