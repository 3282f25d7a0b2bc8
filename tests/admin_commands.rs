//! The commands of an operator, over the API of a running process: resources, apply, export, backup, restore and replay.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use carteiro::receiver::Answer;
use serde_json::Value;

use crate::harness::{Process, Receiver, Site, acme, eventually, ids};

/// A running process with an empty database, and its API's URL for commands.
struct Fixture {
    site: Site,
    standalone: Process,
    url: String,
}

impl Fixture {
    async fn start() -> Self {
        let site = Site::embedded("tenants: []").set("store.url", "sqlite:store.db");
        let standalone = site.start("standalone").await;
        let url = standalone.api().url();
        Self { site, standalone, url }
    }

    /// Starts it with the tenant `acme`, which has one endpoint `crm`.
    async fn with_endpoint() -> Self {
        let fixture = Self::start().await;
        fixture.done(&["tenants", "create", "acme"]).await;
        fixture.done(&["endpoints", "create", "crm", "--tenant", "acme", "--post-to", "https://crm.example/"]).await;
        fixture
    }

    /// Runs a command. Returns its exit code, its stdout and its stderr.
    async fn run(&self, arguments: &[&str]) -> (i32, String, String) {
        let output = self.site.run(&[arguments, &["--server", &self.url]].concat()).await;
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
    }

    /// Runs a command that must succeed. Returns its stdout.
    async fn done(&self, arguments: &[&str]) -> String {
        let (code, stdout, stderr) = self.run(arguments).await;
        assert_eq!(code, 0, "{arguments:?}: {stderr}");
        stdout
    }

    /// Runs a command about `acme` that must succeed. Returns its stdout.
    async fn acme(&self, arguments: &[&str]) -> String {
        self.done(&[arguments, &["--tenant", "acme"]].concat()).await
    }

    /// Runs a command about `acme` that must succeed. Returns its one line of JSON.
    async fn acme_json(&self, arguments: &[&str]) -> Value {
        let stdout = self.acme(&[arguments, &["--output", "json"]].concat()).await;
        serde_json::from_str(&stdout).expect("one line of JSON")
    }
}

#[tokio::test]
async fn a_resource_is_created_once_and_its_secrets_are_shown_once() {
    let fixture = Fixture::start().await;
    assert_eq!(fixture.done(&["tenants", "create", "acme", "--endpoints", "5"]).await, "tenant acme created\n");
    let (code, _, stderr) = fixture.run(&["tenants", "create", "acme"]).await;
    assert_eq!((code, stderr.as_str()), (1, "carteiro: tenant acme is there already: `set` replaces it\n"));

    let create = ["endpoints", "create", "crm", "--tenant", "acme", "--post-to", "https://crm.example/"];
    let (code, stdout, stderr) = fixture.run(&[&create[..], &["--secret-header", "x=S3CRET"]].concat()).await;
    assert!(code == 0 && stdout.starts_with("endpoint crm created\nsecret  whsec_"), "{stdout}{stderr}");
    assert!(stderr.contains("shown only now"), "{stderr}");
    let endpoint = fixture.acme_json(&["endpoints", "show", "crm"]).await;
    assert_eq!(endpoint["headers"]["x"]["secret"], "***");
}

#[tokio::test]
async fn an_endpoint_is_patched_disabled_paused_enabled_and_cancelled() {
    let fixture = Fixture::with_endpoint().await;
    fixture.acme(&["endpoints", "patch", "crm", "--timeout", "5s", "--json", r#"{"name":"CRM"}"#]).await;
    let endpoint = fixture.acme_json(&["endpoints", "show", "crm"]).await;
    assert_eq!((&endpoint["name"], &endpoint["timeout"]), (&"CRM".into(), &"5s".into()));
    fixture.acme(&["endpoints", "disable", "crm", "--reason", "moving"]).await;
    assert_eq!(fixture.acme_json(&["endpoints", "list"]).await["disabled_reason"], "moving");
    assert_eq!(fixture.acme(&["endpoints", "pause", "crm"]).await, "endpoint crm paused\n");
    assert_eq!(fixture.acme_json(&["endpoints", "list"]).await["state"], "paused");
    fixture.acme(&["endpoints", "enable", "crm"]).await;
    assert_eq!(fixture.acme_json(&["endpoints", "list"]).await["state"], "active");
    assert_eq!(fixture.acme_json(&["endpoints", "waiting", "crm"]).await["waiting"], 0);
    assert!(fixture.acme(&["endpoints", "cancel", "crm"]).await.contains("cancelled_before"));
}

#[tokio::test]
async fn subscriptions_channels_and_integrations_are_made_explained_and_deleted() {
    let fixture = Fixture::with_endpoint().await;
    fixture.acme(&["subscriptions", "create", "all", "--endpoint-id", "crm", "--event-types", "ticket.*"]).await;
    assert_eq!(fixture.acme_json(&["explain", r#"{"type":"ticket.created"}"#]).await["matched"], true);

    fixture.acme(&["channels", "set", "7", "--post-to", "https://a.example/", "--events", "received"]).await;
    assert_eq!(fixture.acme_json(&["channels", "list"]).await["events"], serde_json::json!(["received"]));
    fixture.acme(&["channels", "delete", "7", "--yes"]).await;

    fixture.acme(&["integrations", "create", "bot", "--post-to", "https://b.example/"]).await;
    fixture.acme(&["integrations", "bind", "12", "--integration", "bot", "--start-on-transfer"]).await;
    assert_eq!(fixture.acme(&["integrations", "unbind", "12"]).await, "subscription queue-12 deleted\n");

    let deleted = fixture.acme(&["endpoints", "delete", "crm", "--yes"]).await;
    assert_eq!(deleted, "endpoint crm deleted\nsubscription all deleted\n");
    let audit = fixture.acme(&["audit", "--limit", "2"]).await;
    assert_eq!(audit.matches("deleted").count(), 2, "{audit}");
    assert!(fixture.acme(&["usage", "--by-endpoint"]).await.contains("deliveries"));
}

#[tokio::test]
async fn a_channel_and_an_integration_have_the_verbs_of_an_endpoint() {
    let fixture = Fixture::with_endpoint().await;
    for (resource, id, name) in
        [("channels", "Canal Vendas", "webhook of channel"), ("integrations", "bot", "integration")]
    {
        let (code, created, stderr) =
            fixture.run(&[resource, "create", id, "--tenant", "acme", "--post-to", "https://a.example/"]).await;
        assert_eq!(code, 0, "{stderr}");
        assert!(created.starts_with(&format!("{name} {id} created\nsecret  whsec_")), "{created}");
        assert!(stderr.contains("shown only now"), "{stderr}");
        let again = ["--post-to", "https://a.example/"];
        assert_eq!(
            fixture.acme(&[&[resource, "set", id], &again[..]].concat()).await,
            format!("{name} {id} unchanged\n")
        );
        let (code, _, stderr) =
            fixture.run(&[&[resource, "create", id, "--tenant", "acme"], &again[..]].concat()).await;
        assert_eq!((code, stderr), (1, format!("carteiro: {name} {id} is there already: `set` replaces it\n")));

        assert_eq!(
            fixture.acme(&[resource, "disable", id, "--reason", "moving"]).await,
            format!("{name} {id} disabled\n")
        );
        let listed = fixture.acme_json(&[resource, "list"]).await;
        assert_eq!((&listed["state"], &listed["disabled_reason"]), (&"disabled".into(), &"moving".into()));
        assert_eq!(fixture.acme(&[resource, "pause", id]).await, format!("{name} {id} paused\n"));
        assert_eq!(fixture.acme_json(&[resource, "show", id]).await["state"], "paused");
        assert_eq!(fixture.acme(&[resource, "enable", id]).await, format!("{name} {id} enabled\n"));
        assert_eq!(fixture.acme_json(&[resource, "show", id]).await["state"], "active");
        assert!(fixture.acme(&[resource, "rotate", id, "--overlap", "1h"]).await.contains("whsec_"));
        assert_eq!(fixture.acme_json(&[resource, "waiting", id]).await["waiting"], 0);
        assert!(fixture.acme(&[resource, "cancel", id]).await.contains("cancelled_before"));
    }
    let table = fixture.acme(&["channels", "list"]).await;
    assert!(table.contains("channel-Canal%20Vendas") && table.contains("active"), "{table}");
    let (code, _, stderr) = fixture.run(&["channels", "create", "--tenant", "acme"]).await;
    assert_eq!((code, stderr.contains("give the id")), (64, true), "{stderr}");
}

#[tokio::test]
async fn queues_are_bound_listed_switched_and_unbound() {
    let fixture = Fixture::with_endpoint().await;
    fixture.acme(&["integrations", "create", "bot", "--post-to", "https://b.example/"]).await;
    let bind = ["queues", "create", "12", "--integration", "bot", "--start-on-transfer"];
    assert_eq!(fixture.acme(&bind).await, "integration of queue 12 created\n");
    let binding = fixture.acme_json(&["queues", "list"]).await;
    assert_eq!((&binding["endpoint_id"], &binding["start_on_transfer"]), (&"integration-bot".into(), &true.into()));
    fixture.acme(&["queues", "disable", "12"]).await;
    assert_eq!(fixture.acme_json(&["queues", "show", "12"]).await["enabled"], false);
    fixture.acme(&["queues", "enable", "12"]).await;
    assert_eq!(
        fixture.acme(&["queues", "patch", "12", "--enabled", "true"]).await,
        "integration of queue 12 unchanged\n"
    );
    let unknown = fixture.run(&["queues", "set", "13", "--integration-id", "nobody", "--tenant", "acme"]).await;
    let said = "carteiro: 422: --integration-id: the tenant has no such integration\n";
    assert_eq!((unknown.0, unknown.2.as_str()), (1, said));
    assert_eq!(fixture.acme(&["queues", "delete", "12"]).await, "subscription queue-12 deleted\n");
}

#[tokio::test]
async fn a_patch_that_changes_nothing_or_means_nothing_says_so() {
    let fixture = Fixture::with_endpoint().await;
    assert_eq!(fixture.acme(&["endpoints", "patch", "crm"]).await, "endpoint crm unchanged\n");
    assert_eq!(fixture.acme(&["endpoints", "patch", "crm", "--unset", "name"]).await, "endpoint crm unchanged\n");
    let (code, _, stderr) = fixture.run(&["endpoints", "patch", "crm", "--tenant", "acme", "--unset", "nmae"]).await;
    assert_eq!((code, stderr.contains("unknown key, did you mean name?")), (1, true), "{stderr}");
    let twice = ["endpoints", "patch", "crm", "--tenant", "acme", "--header", "X-A=1", "--header", "x-a=2"];
    let (code, _, stderr) = fixture.run(&twice).await;
    assert_eq!((code, stderr.contains("the header x-a is given twice")), (64, true), "{stderr}");
}

#[tokio::test]
async fn tokens_and_secrets_are_rotated_with_an_overlap_of_at_most_thirty_days() {
    let fixture = Fixture::with_endpoint().await;
    let rotated = fixture.acme(&["endpoints", "rotate", "crm", "--overlap", "1h"]).await;
    assert!(rotated.contains("whsec_"), "{rotated}");

    let source = fixture.acme_json(&["sources", "create", "main", "--dialect", "whazing"]).await;
    let rotated = fixture.acme_json(&["sources", "rotate", "main"]).await;
    assert!(source["token"] != rotated["token"] && rotated["token"].as_str().expect("a token").starts_with("in_"));
    assert_eq!(rotated["old_token"]["secret"], "***");
    let rotated = fixture.acme_json(&["sources", "rotate-token", "main", "--overlap", "0s"]).await;
    assert_eq!(rotated.get("old_token"), None);
    let too_long = ["sources", "rotate-token", "main", "--overlap", "31d", "--tenant", "acme"];
    let (code, _, stderr) = fixture.run(&too_long).await;
    assert_eq!((code, stderr.contains("--overlap: must be at most 30d")), (1, true), "{stderr}");
}

#[tokio::test]
async fn a_key_with_the_scope_read_lists_and_changes_nothing() {
    let fixture = Fixture::with_endpoint().await;
    let key = fixture.acme_json(&["keys", "create", "backend", "--scopes", "read"]).await;
    let as_backend = ["--key", key["key"].as_str().expect("a key"), "--tenant", "acme"];
    fixture.done(&[&["endpoints", "list"], &as_backend[..]].concat()).await;
    let (code, _, stderr) = fixture.run(&[&["endpoints", "delete", "crm", "--yes"], &as_backend[..]].concat()).await;
    assert_eq!((code, stderr.starts_with("carteiro: 403: ")), (1, true), "{stderr}");
}

#[tokio::test]
async fn a_deletion_that_loses_more_than_the_item_asks_and_without_a_terminal_wants_a_yes() {
    let fixture = Fixture::with_endpoint().await;
    fixture.acme(&["subscriptions", "create", "all", "--endpoint-id", "crm"]).await;
    fixture.acme(&["channels", "set", "7", "--post-to", "https://a.example/"]).await;
    fixture.acme(&["integrations", "create", "bot", "--post-to", "https://b.example/"]).await;
    fs::write(fixture.site.path("none.yaml"), "tenants: [{id: other}]").expect("its own folder");
    let all = fixture.done(&["export"]).await;
    for (arguments, sentence) in [
        (&["tenants", "delete", "acme"][..], "tenant acme will be deleted, with its endpoints"),
        (&["endpoints", "delete", "crm", "--tenant", "acme"], "endpoint crm will be deleted, with its subscriptions"),
        (&["channels", "delete", "7", "--tenant", "acme"], "webhook of channel 7 will be deleted"),
        (&["integrations", "delete", "bot", "--tenant", "acme"], "integration bot will be deleted"),
        (&["apply", "-f", "none.yaml", "--prune"], "these will be deleted: tenant acme"),
    ] {
        let (code, stdout, stderr) = fixture.run(arguments).await;
        let says_both = stderr.contains(sentence) && stderr.contains("--yes");
        assert_eq!((code, stdout.as_str(), says_both), (64, "", true), "{stderr}");
        assert_eq!(fixture.done(&["export"]).await, all, "{arguments:?}");
    }
    let dry = fixture.done(&["apply", "-f", "none.yaml", "--prune", "--dry-run"]).await;
    assert!(dry.contains("- tenant acme\n"), "{dry}");
    fixture.acme(&["subscriptions", "delete", "all"]).await;
    fixture.done(&["tenants", "delete", "acme", "--yes"]).await;
    assert_eq!(fixture.done(&["export"]).await, "tenants: []\n");
}

#[tokio::test]
async fn an_error_about_a_field_names_its_flag() {
    let fixture = Fixture::with_endpoint().await;
    for (arguments, said) in [
        (&["channels", "set", "7"][..], "422: --post-to: is required"),
        (&["integrations", "create", "bot"], "422: --post-to: is required"),
        (&["endpoints", "create", "x"], "422: --post-to: is required"),
        (&["endpoints", "patch", "crm", "--retry-schedule", "5s,foo"], "422: --retry-schedule (value 2): "),
        (&["endpoints", "patch", "crm", "--json", r#"{"no":1}"#], "422: /no: "),
        (&["endpoints", "rotate", "crm", "--overlap", "31d"], "422: --overlap: must be at most 30d"),
    ] {
        let (code, _, stderr) = fixture.run(&[arguments, &["--tenant", "acme"]].concat()).await;
        assert_eq!((code, stderr.contains(said)), (1, true), "{arguments:?}: {stderr}");
    }
}

const FILE: &str = r#"tenants:
  - id: acme
    endpoints:
      - {id: crm, url: "https://crm.example/", format: whazing, n8n_api_key: "S3CRET", retry: {schedule: [5s], max_age: 1h}}
    subscriptions:
      - {id: crm-7, endpoint_id: crm, channel_ids: [7], event_types: [message.received, "ticket.*"]}
    sources:
      - {id: main, dialect: whazing, channel_id: 7}
"#;

#[tokio::test]
async fn apply_changes_tenants_to_what_files_describe_and_export_is_its_inverse() {
    let fixture = Fixture::start().await;
    let write = |name: &str, text: &str| fs::write(fixture.site.path(name), text).expect("its own folder");
    write("acme.yaml", FILE);
    let made = "+ tenant acme\n+ endpoint acme/crm\n+ subscription acme/crm-7\n+ source acme/main\n";
    let dry = fixture.run(&["apply", "-f", "acme.yaml", "--dry-run"]).await;
    assert_eq!(dry, (0, made.to_owned(), "4 changes to make; nothing was changed\n".to_owned()));
    let applied = fixture.done(&["apply", "-f", "acme.yaml"]).await;
    assert!(applied.starts_with(made) && applied.contains("source acme/main token  in_"), "{applied}");

    fixture.done(&["channels", "set", "9", "--tenant", "acme", "--post-to", "https://n8n.example/"]).await;
    let plain = fixture.done(&["export"]).await;
    let whole = fixture.done(&["export", "--with-secrets"]).await;
    assert!(!plain.contains("S3CRET") && whole.contains("S3CRET") && whole.contains("token: in_"), "{plain}");
    for (name, text) in [("plain.yaml", &plain), ("whole.yaml", &whole), ("acme.yaml", &FILE.to_owned())] {
        write(name, text);
        let again = fixture.run(&["apply", "--dry-run", "-f", name]).await;
        assert_eq!(again, (0, String::new(), "nothing to change\n".to_owned()), "{name}");
    }
    let pruned = fixture.done(&["apply", "--prune", "--yes", "-f", "acme.yaml"]).await;
    assert_eq!(pruned, "- endpoint acme/channel-9\n- subscription acme/channel-9\n");
    fixture.done(&["apply", "-f", "whole.yaml"]).await;
    assert_eq!(fixture.done(&["export", "--with-secrets"]).await, whole, "it restores everything");
}

#[tokio::test]
async fn apply_of_an_invalid_file_changes_nothing_and_names_file_line_and_column() {
    let fixture = Fixture::start().await;
    let broken = FILE.replace("https://crm", "ftp://crm").replace("endpoint_id: crm", "endpoint_id: other");
    let torn = FILE.replace("dialect: whazing", "dialect: whatsing");
    fs::create_dir(fixture.site.path("conf")).expect("its own folder");
    for (text, told) in [
        (
            broken,
            &["site.yml:4:24: tenants[0].endpoints[0].url: must", "site.yml:6:34: tenants[0].subscriptions[0]"][..],
        ),
        (torn, &["site.yml:8:29: tenants[0].sources[0].dialect: unknown word"]),
    ] {
        fs::write(fixture.site.path("conf/site.yml"), text).expect("its own folder");
        let (code, stdout, stderr) = fixture.run(&["apply", "-f", "conf"]).await;
        assert_eq!((code, stdout.as_str()), (78, ""), "{stderr}");
        assert!(told.iter().all(|told| stderr.contains(&format!("conf/{told}"))), "{stderr}");
        assert!(stderr.ends_with("carteiro: nothing was changed\n"), "{stderr}");
        assert_eq!(fixture.done(&["export"]).await, "tenants: []\n");
    }
}

#[tokio::test]
async fn deliveries_that_waited_at_a_backup_are_made_after_a_restore() {
    // Every attempt fails while the first process runs.
    let failing = Receiver::start(|_| Answer::status(503)).await;
    let mut fixture = Fixture::start().await;
    fs::write(fixture.site.path("acme.yaml"), acme(&failing.url("/crm"))).expect("its own folder");
    fixture.done(&["apply", "-f", "acme.yaml"]).await;
    let accepted = fixture.standalone.api().publish("acme", ids("kept", 20)).await;
    failing.until("all were tried", |recorder| recorder.requests("/crm").len() >= 20).await;
    let created = fixture.site.run(&["backup", "backup.tar"]).await;
    assert!(created.status.success(), "{}", String::from_utf8_lossy(&created.stderr));
    let refused = fixture.site.run(&["restore", "backup.tar", "--force", "--yes"]).await;
    let stderr = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), stderr.contains("in use by another process")), (Some(78), true), "{stderr}");
    fixture.standalone.terminate().await;
    assert_eq!(fixture.standalone.ended().await, Some(0));

    // The restore replaces damaged files.
    for name in ["broker.db", "broker.db-wal", "store.db", "store.key"] {
        fs::write(fixture.site.path(name), "lost").expect("its own folder");
    }
    let restored = fixture.site.run(&["restore", "backup.tar", "--force", "--yes"]).await;
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    fixture.standalone.restart().await;
    fixture.url = fixture.standalone.api().url();
    let receiver = Receiver::accepting().await;
    fixture.acme(&["endpoints", "patch", "crm", "--post-to", &receiver.url("/crm")]).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
}

#[tokio::test]
async fn no_process_starts_on_an_unfinished_restore() {
    let site = Site::embedded("tenants: []");
    fs::write(site.path("restore.unfinished"), "").expect("its own folder");
    let output = site.run(&["standalone"]).await;
    let stderr = String::from_utf8(output.stderr).expect("text");
    let advice = "run `carteiro restore --force` again";
    assert_eq!((output.status.code(), stderr.contains(advice)), (Some(78), true), "{stderr}");
}

#[tokio::test]
async fn dead_letters_of_a_disabled_endpoint_are_offered_for_replay_when_it_is_enabled() {
    let is_back = Arc::new(AtomicBool::new(false));
    let script = is_back.clone();
    let status = move |_: &_| Answer::status(if script.load(Ordering::Relaxed) { 200 } else { 410 });
    let receiver = Receiver::start(status).await;
    let fixture = Fixture::start().await;
    fixture.done(&["tenants", "create", "acme"]).await;
    fixture.acme(&["endpoints", "create", "crm", "--post-to", &receiver.url("/crm")]).await;
    let event_types = ["--event-types", "ticket.*,message.*"];
    fixture.acme(&[&["subscriptions", "create", "all", "--endpoint-id", "crm"][..], &event_types].concat()).await;
    fixture.standalone.api().publish("acme", ids("gone", 1)).await;
    eventually("it is disabled", || async {
        let endpoint = fixture.acme_json(&["endpoints", "show", "crm"]).await;
        (endpoint["state"] == "disabled" && endpoint["disabled_reason"].is_string()).then_some(())
    })
    .await;
    let accepted = fixture.standalone.api().publish("acme", ids("waiting", 3)).await;
    let filter = ["--tenant", "acme", "--endpoint-id", "crm", "--reason", "endpoint_disabled"];
    let list = [&["dead-letters", "list", "--output", "json"][..], &filter].concat();
    eventually("they have ended", || async {
        let listed = fixture.site.look(&list).await;
        (String::from_utf8_lossy(&listed.stdout).lines().count() == 3).then_some(())
    })
    .await;

    is_back.store(true, Ordering::Relaxed);
    let (code, stdout, stderr) = fixture.run(&["endpoints", "enable", "crm", "--tenant", "acme"]).await;
    assert_eq!((code, stdout.as_str()), (0, "endpoint crm enabled\n"));
    // The offer ends with the command that replays them.
    let (_, command) = stderr.trim_end().split_once("3 of its deliveries").expect("an offer");
    let (_, command) = command.split_once("carteiro ").expect("a command");
    fixture.done(&command.split(' ').collect::<Vec<_>>()).await;
    receiver.until("they arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
}
