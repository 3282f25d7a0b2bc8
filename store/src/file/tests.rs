//! The folder as a store: what it reads, what it refuses and where, and what it does when files change.

use std::{fs, sync::Arc};

use schemas::{Format, HeaderText, KeyHash};
use tempfile::TempDir;

use super::FileStore;
use crate::{Snapshot, Store as _};

/// The example of the design's section on configuration, with real secrets.
const EXAMPLE: &str = r#"
tenants:
  - id: acme
    name: Acme
    endpoints:
      - {id: crm, url: "https://crm.example/hooks", format: whazing, n8n_api_key: "n8n", retry: {schedule: [5s, 30s], max_age: 72h}}
    subscriptions:
      - {id: crm-7, endpoint_id: crm, channel_ids: [7], event_types: [message.received, "ticket.*"]}
      - {id: bot-12, endpoint_id: crm, queue_ids: [12], event_types: ["message.*"], start_on_transfer: true}
    sources:
      - {id: main, dialect: whazing, channel_id: 7, token: "source-token"}
    keys:
      - {id: backend, scopes: [publish], hash: "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08"}
"#;

struct Folder(TempDir);

impl Folder {
    fn with(files: &[(&str, &str)]) -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        for (name, text) in files {
            folder.write(name, text);
        }
        folder
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.0.path().join(name), text).unwrap();
    }

    async fn open(&self) -> FileStore {
        FileStore::open(self.0.path()).await.unwrap()
    }

    async fn snapshot(&self) -> Arc<Snapshot> {
        self.open().await.snapshot().unwrap()
    }

    /// The lines in which the folder is refused.
    async fn refusal(&self) -> Vec<String> {
        let error = FileStore::open(self.0.path()).await.unwrap_err();
        error.0.lines().map(ToOwned::to_owned).collect()
    }
}

async fn refusal(text: &str) -> Vec<String> {
    Folder::with(&[("acme.yaml", text)]).refusal().await
}

fn tenant(id: &str, url: &str) -> String {
    format!("tenants:\n  - id: {id}\n    endpoints:\n      - {{id: crm, url: \"{url}\"}}\n")
}

#[tokio::test]
async fn the_example_of_the_design_is_what_it_says() {
    let snapshot = Folder::with(&[("acme.yaml", EXAMPLE)]).snapshot().await;
    assert_eq!(snapshot.revision(), 1);
    let crm = snapshot.endpoint("acme", "crm").unwrap();
    assert_eq!((crm.format, crm.n8n_api_key.as_ref().unwrap().reveal()), (Format::Whazing, "n8n"));
    assert_eq!(crm.retry.as_ref().unwrap().schedule.len(), 2);
    let ids: Vec<_> = snapshot.tenant("acme").unwrap().subscriptions.iter().map(|it| it.id.as_str()).collect();
    assert_eq!(ids, ["bot-12", "crm-7"]);
    assert_eq!(snapshot.source("source-token", 0).unwrap().source.id, "main");
    assert_eq!(snapshot.key("test", 0).unwrap().1.hash, KeyHash::of("test"));
}

#[tokio::test]
async fn what_is_retiring_in_a_file_is_valid_until_its_time() {
    let hash = |text: &str| String::from(KeyHash::of(text));
    let text = format!(
        "{}        secrets: [whsec_UzNDUkVULXNlY3JldC1vZi0yNC1ieXRlcw==, {{secret: whsec_T0xELVMzQ1JFVC1vZi0yNC1ieXRlcy0t, until: 1970-01-01T00:00:01Z}}]
    sources: [{{id: main, dialect: whazing, token: new-token, old_token: {{secret: 12e45678, until: 1970-01-01T00:00:01Z}}}}]
    keys: [{{id: k, scopes: [read], hash: {}, old_hash: {{hash: {}, until: \"1970-01-01T00:00:01Z\"}}}}]\n",
        "tenants:\n  - id: acme\n    endpoints:\n      - id: crm\n        url: https://a.example\n",
        hash("new"),
        hash("old"),
    );
    let snapshot = Folder::with(&[("a.yaml", &text)]).snapshot().await;
    for (now, valid) in [(999, true), (1_000, false)] {
        assert_eq!(snapshot.source("12e45678", now).is_some(), valid);
        assert_eq!(snapshot.key("old", now).is_some(), valid);
        assert_eq!(snapshot.endpoint("acme", "crm").unwrap().signing_secrets(now).count(), 1 + usize::from(valid));
        assert!(snapshot.source("new-token", now).is_some() && snapshot.key("new", now).is_some());
    }
    let wrong = text.replace("until: 1970-01-01T00:00:01Z}]", "until: soon}]");
    let refused = Folder::with(&[("a.yaml", &wrong)]).refusal().await.join("\n");
    assert!(refused.contains("a.yaml:6:") && refused.contains("endpoints[0].secrets[1].until: "), "{refused}");
}

#[tokio::test]
async fn a_missing_and_an_empty_folder_are_an_empty_configuration() {
    let folder = Folder::with(&[]);
    assert_eq!(folder.snapshot().await.tenants().count(), 0);
    let store = FileStore::open(&folder.0.path().join("none")).await.unwrap();
    assert_eq!((*store.revision().borrow(), store.snapshot().unwrap().tenants().count()), (1, 0));
}

#[tokio::test]
async fn files_without_content_and_lists_without_items_say_nothing() {
    let folder = Folder::with(&[
        ("a.yaml", ""),
        ("b.yaml", "# nothing yet\n"),
        ("c.yml", "tenants:\n#  - id: later\n"),
        ("d.yaml", "\u{feff}tenants:\n  - id: acme\n    endpoints:\n"),
        (".hidden.yaml", "not: read"),
        ("notes.txt", "not: read"),
    ]);
    assert_eq!(folder.snapshot().await.tenants().count(), 1);
}

#[tokio::test]
async fn a_tenant_may_be_spread_over_files() {
    let subscriptions = "tenants:\n  - id: acme\n    name: Acme\n    subscriptions:\n      - {id: all, endpoint_id: crm, event_types: ['*']}\n";
    let folder = Folder::with(&[("a.yaml", subscriptions), ("b.yaml", &tenant("acme", "https://crm.example"))]);
    let snapshot = folder.snapshot().await;
    let acme = snapshot.tenant("acme").unwrap();
    assert_eq!((acme.endpoints.len(), acme.subscriptions.len()), (1, 1));
}

#[tokio::test]
async fn an_id_in_two_files_is_refused_with_both_places() {
    let folder = Folder::with(&[
        ("a.yaml", &tenant("acme", "https://a.example")),
        ("b.yaml", &tenant("acme", "https://b.example")),
    ]);
    let lines = folder.refusal().await;
    assert_eq!(lines, ["b.yaml:4:14: tenants[0].endpoints[0].id: the id is already used at a.yaml:4:14"]);
}

#[tokio::test]
async fn files_that_disagree_about_a_tenant_are_refused() {
    let named = |name: &str| format!("tenants:\n  - id: acme\n    name: {name}\n");
    let folder = Folder::with(&[("a.yaml", &named("Acme")), ("b.yaml", &named("Ajax"))]);
    let lines = folder.refusal().await;
    assert_eq!(lines, ["b.yaml:3:11: tenants[0].name: the files that describe tenant acme do not agree"]);
}

#[tokio::test]
async fn a_tenant_twice_in_one_file_is_refused() {
    let lines = refusal("tenants:\n  - id: acme\n  - id: acme\n").await;
    assert_eq!(lines, ["acme.yaml:3:9: tenants[1].id: the tenant is already described at acme.yaml:2:9"]);
}

#[tokio::test]
async fn an_unknown_key_is_told_with_its_place_and_the_nearest_known_one() {
    let text = "
tenants:
  - id: acme
    qouta: {}
    endpoints:
      - {id: a, url: 'https://a.example'}
      - id: b
        urll: https://b.example
      - id: c
        url: https://c.example
        retry: {schedul: [5s]}
      - id: d
        url: https://d.example
        rate_limit:
          per_secnd: 5
      - {id: e, url: 'https://e.example', format_options: {shap: '2.15'}}
tenant: []
";
    assert_eq!(
        refusal(text).await,
        [
            "acme.yaml:4:5: tenants[0].qouta: unknown key, did you mean quota?",
            "acme.yaml:8:9: tenants[0].endpoints[1].urll: unknown key, did you mean url?",
            "acme.yaml:11:17: tenants[0].endpoints[2].retry.schedul: unknown key, did you mean schedule?",
            "acme.yaml:15:11: tenants[0].endpoints[3].rate_limit.per_secnd: unknown key, did you mean per_second?",
            "acme.yaml:16:60: tenants[0].endpoints[4].format_options.shap: unknown key, did you mean shape?",
            "acme.yaml:17:1: tenant: unknown key, did you mean tenants?",
        ]
    );
}

#[tokio::test]
async fn a_value_of_the_wrong_type_is_told_with_its_place_and_without_its_value() {
    let text = "
tenants:
  - id: acme
    endpoints:
      - {id: a, url: 'https://a.example', timeout: 15}
      - {id: b, url: 'https://b.example', max_in_flight: hunter2}
      - {id: c, url: 'https://c.example', format: whazzing}
      - {id: d}
      - {id: e, url: 'https://e.example', n8n_api_key: [hunter2]}
      - {id: f, url: 'https://f.example', headers: {X-Count: 5}}
      - {id: g, url: 'https://g.example', headers: {X-Count: {secret: hunter2, secert: x}}}
    subscriptions:
      - {id: s, endpoint_id: a, channel_ids: [7, [8]]}
      - {id: t, endpoint_id: a, event_types: [message.*, message..received]}
      - id: u
        endpoint_id: a
        channel_ids:
    keys:
      - {id: k, scopes: [publish], hash: hunter2}
";
    let lines = refusal(text).await;
    let expected = [
        "acme.yaml:5:52: tenants[0].endpoints[0].timeout: \"15\" is no duration: write a number and a unit, such as \"5s\" or \"2m\"",
        "acme.yaml:6:58: tenants[0].endpoints[1].max_in_flight: expected a whole number, 0 or more, found a text",
        "acme.yaml:7:51: tenants[0].endpoints[2].format: unknown word `whazzing`, did you mean whazing?",
        "acme.yaml:8:9: tenants[0].endpoints[3]: url is missing",
        "acme.yaml:9:56: tenants[0].endpoints[4].n8n_api_key: expected a text, found a list",
        "acme.yaml:10:62: tenants[0].endpoints[5].headers.X-Count: expected a text, or {secret: text}",
        "acme.yaml:11:62: tenants[0].endpoints[6].headers.X-Count: expected a text, or {secret: text}",
        "acme.yaml:13:50: tenants[0].subscriptions[0].channel_ids[1]: expected a whole number or a text",
    ];
    assert_eq!(lines[..8], expected);
    assert!(lines[8].starts_with("acme.yaml:14:58: tenants[0].subscriptions[1].event_types[1]: "), "{}", lines[8]);
    assert!(
        lines[9].starts_with("acme.yaml:17:20: tenants[0].subscriptions[2].channel_ids: has no value"),
        "{}",
        lines[9]
    );
    assert_eq!(lines[10], "acme.yaml:19:42: tenants[0].keys[0].hash: expected `sha256:` and 64 hex digits");
    assert!(lines.iter().all(|line| !line.contains("hunter2")));
    assert_eq!(lines.len(), 11);
}

#[tokio::test]
async fn what_is_no_yaml_is_told_with_its_place_for_every_file() {
    let broken = "tenants:\n  - id: acme\n    name: [\n";
    let folder =
        Folder::with(&[("a.yaml", broken), ("b.yaml", "tenants:\n  - id: x\n    id: y\n"), ("c.yaml", "just a text")]);
    fs::write(folder.0.path().join("d.yaml"), b"tenants:\n  - id: \xff\n").unwrap();
    let lines = folder.refusal().await;
    assert!(lines[0].starts_with("a.yaml:"), "{}", lines[0]);
    assert!(lines[1].starts_with("b.yaml:3:5: "), "{}", lines[1]);
    assert_eq!(lines[2], "c.yaml:1:1: expected the key tenants");
    assert_eq!(lines[3], "d.yaml:2:9: is not UTF-8");
}

#[tokio::test]
async fn nesting_without_end_is_refused() {
    let lines = refusal(&format!("tenants: {}", "[".repeat(100_000))).await;
    assert!(lines[0].starts_with("acme.yaml:1:"), "{}", lines[0]);
    assert_eq!(lines.len(), 1);
}

#[tokio::test]
async fn all_that_is_invalid_is_told_at_once_each_with_its_place() {
    let text = "
tenants:
  - id: Acme
    endpoints:
      - {id: a, url: 'ftp://a.example', headers: {Host: x}}
    subscriptions:
      - {id: s, endpoint_id: b}
";
    assert_eq!(
        refusal(text).await,
        [
            "acme.yaml:3:9: tenants[0].id: expected up to 63 of a-z, 0-9, _ and -, beginning with a letter or digit",
            "acme.yaml:5:22: tenants[0].endpoints[0].url: must begin with http:// or https://",
            "acme.yaml:5:57: tenants[0].endpoints[0].headers.Host: cannot be set: carteiro sets it",
            "acme.yaml:7:30: tenants[0].subscriptions[0].endpoint_id: the tenant has no such endpoint",
        ]
    );
}

#[tokio::test]
async fn a_text_may_look_like_a_number_and_an_id_may_be_one() {
    let text = "
tenants:
  - id: 7
    name: no
    endpoints:
      - {id: 12, url: 'https://a.example', format_options: {shape: 2.15}, n8n_api_key: 0123, headers: {X: 'é' }}
";
    assert_eq!(
        refusal(text).await,
        ["acme.yaml:6:107: tenants[0].endpoints[0].headers.X: expected visible ASCII characters, spaces and tabs"]
    );
    let snapshot = Folder::with(&[("a.yaml", &text.replace('é', "e"))]).snapshot().await;
    let endpoint = snapshot.endpoint("7", "12").unwrap();
    assert_eq!(endpoint.n8n_api_key.as_ref().unwrap().reveal(), "0123");
    assert_eq!(endpoint.headers["X"], HeaderText::Plain("e".into()));
}

#[tokio::test]
async fn null_is_a_word_where_it_is_one_of_the_words_and_nothing_is_none() {
    let text = "
tenants:
  - id: acme
    endpoints:
      - {id: crm, url: 'https://a.example', format_options: {webhook_echo: null}}
";
    let snapshot = Folder::with(&[("a.yaml", text)]).snapshot().await;
    assert_eq!(snapshot.endpoint("acme", "crm").unwrap().format_options.webhook_echo, schemas::WebhookEcho::Null);
    assert_eq!(
        refusal(&text.replace(": null", ": ")).await,
        ["acme.yaml:5:74: tenants[0].endpoints[0].format_options.webhook_echo: expected one word"]
    );
}

#[tokio::test]
async fn ids_are_the_same_written_as_numbers_and_as_texts() {
    let ids = |ids: &str| {
        format!(
            "{}    subscriptions:\n      - {{id: s, endpoint_id: crm, channel_ids: {ids}}}\n",
            tenant("acme", "https://a.example")
        )
    };
    let folder = Folder::with(&[("a.yaml", &ids("[7, b]"))]);
    let store = folder.open().await;
    let written = store.snapshot().unwrap().tenant("acme").unwrap().subscriptions[0].channel_ids.clone().unwrap();
    assert_eq!(Vec::from_iter(written.0), ["7", "b"]);
    folder.write("a.yaml", &ids("['b', \"7\"]"));
    store.pull().await.unwrap();
    assert_eq!(store.snapshot().unwrap().revision(), 1, "the same ids are no change");
}

#[tokio::test]
async fn an_id_that_a_number_would_change_stays_as_it_is_written() {
    let text = format!(
        "{}    subscriptions:\n      - {{id: s, endpoint_id: crm, channel_ids: [7, 007, +55, 0x10, 99999999999999999999]}}\n",
        tenant("acme", "https://a.example")
    );
    let snapshot = Folder::with(&[("a.yaml", &text)]).snapshot().await;
    let ids = snapshot.tenant("acme").unwrap().subscriptions[0].channel_ids.clone().unwrap();
    assert_eq!(Vec::from_iter(ids.0), ["+55", "007", "0x10", "7", "99999999999999999999"]);
}

#[tokio::test]
async fn a_token_that_looks_like_a_huge_number_is_a_token() {
    let text = "tenants:\n  - id: acme\n    sources:\n      - {id: main, dialect: whazing, token: 12e456789}\n";
    assert!(Folder::with(&[("a.yaml", text)]).snapshot().await.source("12e456789", 0).is_some());
}

#[tokio::test]
async fn anchors_and_merges_are_read_where_they_are_used() {
    let text = "
tenants:
  - id: acme
    endpoints:
      - &crm {id: crm, url: 'https://a.example', timeout: &t 5s}
      - {<<: *crm, id: bot, timeout: 30s}
      - {id: log, url: 'https://b.example', timeout: *t}
";
    let snapshot = Folder::with(&[("a.yaml", text)]).snapshot().await;
    let seconds = |id| snapshot.endpoint("acme", id).unwrap().timeout.0.as_secs();
    assert_eq!([seconds("crm"), seconds("bot"), seconds("log")], [5, 30, 5]);
}

#[tokio::test]
async fn a_changed_file_is_in_the_next_snapshot_and_the_held_one_stays_as_it_was() {
    let folder = Folder::with(&[("a.yaml", &tenant("acme", "https://old.example"))]);
    let store = folder.open().await;
    let held = store.snapshot().unwrap();
    let mut revision = store.revision();
    folder.write("a.yaml", &tenant("acme", "https://newer.example"));
    store.refresh().await.unwrap();
    assert!(revision.has_changed().unwrap());
    assert_eq!(*revision.borrow_and_update(), 2);
    assert_eq!(store.snapshot().unwrap().endpoint("acme", "crm").unwrap().url, "https://newer.example");
    assert_eq!(held.endpoint("acme", "crm").unwrap().url, "https://old.example");
}

#[tokio::test]
async fn a_pull_sees_what_the_listing_does_not_show() {
    let folder = Folder::with(&[("a.yaml", &tenant("acme", "https://one.example"))]);
    let path = folder.0.path().join("a.yaml");
    let modified = fs::metadata(&path).unwrap().modified().unwrap();
    let store = folder.open().await;
    folder.write("a.yaml", &tenant("acme", "https://two.example"));
    fs::File::options().append(true).open(&path).unwrap().set_modified(modified).unwrap();
    store.refresh().await.unwrap();
    assert_eq!(store.snapshot().unwrap().endpoint("acme", "crm").unwrap().url, "https://one.example");
    store.pull().await.unwrap();
    assert_eq!(store.snapshot().unwrap().endpoint("acme", "crm").unwrap().url, "https://two.example");
}

#[tokio::test]
async fn the_task_that_watches_swaps_and_ends_when_told() {
    let folder = Folder::with(&[]);
    let store = Arc::new(folder.open().await);
    let mut revision = store.revision();
    let stop = tokio_util::sync::CancellationToken::new();
    let watching = tokio::spawn({
        let (store, stop) = (store.clone(), stop.clone());
        async move { store.watch(std::time::Duration::from_millis(1), stop).await }
    });
    folder.write("a.yaml", &tenant("acme", "https://a.example"));
    revision.wait_for(|&revision| revision == 2).await.unwrap();
    stop.cancel();
    watching.await.unwrap();
}

#[tokio::test]
async fn what_cannot_be_read_leaves_the_last_good_snapshot_and_is_told_until_it_is_mended() {
    let good = tenant("acme", "https://a.example");
    let folder = Folder::with(&[("a.yaml", &good)]);
    let store = folder.open().await;
    folder.write("b.yaml", "tenants: 5\n");
    let error = store.refresh().await.unwrap_err();
    assert_eq!(error.to_string(), "b.yaml:1:10: tenants: expected a list");
    assert!(store.refresh().await.is_err(), "the same content is still wrong");
    assert_eq!((store.freshness().failures, store.snapshot().unwrap().revision()), (1, 1));
    assert_eq!(store.last_error().unwrap().0, error.0);
    assert!(store.snapshot().unwrap().endpoint("acme", "crm").is_some());
    fs::remove_file(folder.0.path().join("b.yaml")).unwrap();
    store.refresh().await.unwrap();
    assert!(store.last_error().is_none());
    assert_eq!(store.snapshot().unwrap().revision(), 1, "nothing changed");
}

#[tokio::test]
async fn a_folder_that_disappears_removes_nobody_and_one_that_is_emptied_does() {
    let folder = Folder::with(&[]);
    let conf = folder.0.path().join("conf.d");
    fs::create_dir(&conf).unwrap();
    fs::write(conf.join("a.yaml"), tenant("acme", "https://a.example")).unwrap();
    let store = FileStore::open(&conf).await.unwrap();
    fs::rename(&conf, folder.0.path().join("away")).unwrap();
    assert!(store.refresh().await.unwrap_err().0.ends_with("the folder is gone"));
    assert!(store.snapshot().unwrap().tenant("acme").is_some());
    fs::create_dir(&conf).unwrap();
    store.refresh().await.unwrap();
    assert_eq!(store.snapshot().unwrap().tenants().count(), 0);
}

#[tokio::test]
async fn tenants_that_did_not_change_are_the_same_in_the_next_snapshot() {
    let folder = Folder::with(&[
        ("a.yaml", &tenant("acme", "https://a.example")),
        ("b.yaml", &tenant("beta", "https://b.example")),
    ]);
    let store = folder.open().await;
    let before = store.snapshot().unwrap();
    folder.write("b.yaml", &tenant("beta", "https://changed.example"));
    store.pull().await.unwrap();
    let after = store.snapshot().unwrap();
    assert!(Arc::ptr_eq(before.tenant("acme").unwrap(), after.tenant("acme").unwrap()));
    assert!(!Arc::ptr_eq(before.tenant("beta").unwrap(), after.tenant("beta").unwrap()));
}

#[tokio::test]
async fn endpoints_that_did_not_change_are_the_same_in_a_tenant_that_did() {
    let two = |url: &str| {
        let endpoints = format!("[{{id: a, url: \"https://a.example\"}}, {{id: b, url: \"{url}\"}}]");
        format!("tenants: [{{id: acme, endpoints: {endpoints}}}]")
    };
    let folder = Folder::with(&[("a.yaml", &two("https://b.example"))]);
    let store = folder.open().await;
    let before = store.snapshot().unwrap();
    folder.write("a.yaml", &two("https://changed.example"));
    store.pull().await.unwrap();
    let after = store.snapshot().unwrap();
    let same = |id| Arc::ptr_eq(before.endpoint("acme", id).unwrap(), after.endpoint("acme", id).unwrap());
    assert!(same("a"));
    assert!(!same("b"));
    assert_eq!(after.endpoint("acme", "b").unwrap().url, "https://changed.example");
}

#[tokio::test]
async fn its_revisions_are_this_processs_own_from_the_first_on() {
    let folder = Folder::with(&[("a.yaml", "tenants: [{id: acme}]")]);
    let store = folder.open().await;
    assert!(!store.snapshot().unwrap().has_shared_revisions());
    folder.write("a.yaml", "tenants: [{id: acme}, {id: zeta}]");
    store.pull().await.unwrap();
    assert_eq!(store.snapshot().unwrap().revision(), 2);
    assert!(!store.snapshot().unwrap().has_shared_revisions());
}

#[tokio::test]
async fn what_is_not_in_force_is_warned_about_with_its_place() {
    let text = "
tenants:
  - id: acme
    quota: {endpoints: 5}
    endpoints:
      - {id: a, url: 'https://a.example', max_in_flight: 8, max_backlog: 7, rate_limit: {per_second: 0.5}}
";
    let store = Folder::with(&[("a.yaml", text)]).open().await;
    assert_eq!(
        *store.warnings(),
        ["a.yaml:4:24: tenants[0].quota.endpoints: is accepted, but not in force in this version",]
    );
}
