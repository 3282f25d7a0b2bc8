//! An operator's commands over the API of a process that runs: what is configured, changed, written out and put back.

use std::{
    fs,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
};

use carteiro::receiver::Answer;
use serde_json::Value;

use crate::harness::{Process, Receiver, Site, eventually, ids};

/// A site whose tenants are in a database, with a process, and where its API is.
async fn start() -> (Site, Process, String) {
    let site = Site::embedded("tenants: []").set("store.url", "sqlite:store.db");
    let standalone = site.start("standalone").await;
    let http = standalone.logged("process.started").await["http"].as_str().expect("an API").to_owned();
    (site, standalone, format!("http://{http}"))
}

/// Its code, its stdout and its stderr.
async fn run(site: &Site, url: &str, arguments: &[&str]) -> (i32, String, String) {
    let output = site.run(&[arguments, &["--url", url]].concat()).await;
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

/// Its stdout, having ended well.
async fn done(site: &Site, url: &str, arguments: &[&str]) -> String {
    let (code, stdout, stderr) = run(site, url, arguments).await;
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    stdout
}

/// Its one line of JSON, having ended well.
async fn json(site: &Site, url: &str, arguments: &[&str]) -> Value {
    let stdout = done(site, url, &[arguments, &["--output", "json"]].concat()).await;
    serde_json::from_str(&stdout).expect("one line of JSON")
}

#[tokio::test]
async fn what_is_configured_is_made_shown_changed_and_deleted_by_commands() {
    let (site, _standalone, url) = start().await;
    let of = ["--tenant", "acme"];
    let with = |arguments: &[&'static str]| [arguments, &of].concat();
    assert_eq!(done(&site, &url, &["tenants", "create", "acme", "--endpoints", "5"]).await, "tenant acme created\n");
    let (code, _, said) = run(&site, &url, &["tenants", "create", "acme"]).await;
    assert_eq!((code, said.as_str()), (1, "carteiro: tenant acme is there already: `set` replaces it\n"));

    let create =
        with(&["endpoints", "create", "crm", "--post-to", "https://crm.example/", "--secret-header", "x=S3CRET"]);
    let (code, made, said) = run(&site, &url, &create).await;
    assert!(code == 0 && made.starts_with("endpoint crm created\nsecret  whsec_"), "{made}{said}");
    assert!(said.contains("shown only now"), "{said}");
    done(&site, &url, &with(&["endpoints", "patch", "crm", "--timeout", "5s", "--json", r#"{"name":"CRM"}"#])).await;
    let endpoint = json(&site, &url, &with(&["endpoints", "show", "crm"])).await;
    assert_eq!((&endpoint["name"], &endpoint["timeout"]), (&"CRM".into(), &"5s".into()));
    assert_eq!(endpoint["headers"]["x"]["secret"], "***");
    done(&site, &url, &with(&["endpoints", "disable", "crm", "--reason", "moving"])).await;
    assert_eq!(json(&site, &url, &with(&["endpoints", "list"])).await["disabled_reason"], "moving");
    done(&site, &url, &with(&["endpoints", "enable", "crm"])).await;
    assert_eq!(json(&site, &url, &with(&["endpoints", "waiting", "crm"])).await["waiting"], 0);
    assert!(done(&site, &url, &with(&["endpoints", "cancel", "crm"])).await.contains("cancelled_before"));
    assert!(
        done(&site, &url, &with(&["endpoints", "rotate-secret", "crm", "--overlap", "1h"])).await.contains("whsec_")
    );

    let subscribe = with(&["subscriptions", "create", "all", "--endpoint-id", "crm", "--event-types", "ticket.*"]);
    done(&site, &url, &subscribe).await;
    let explained = with(&["explain", r#"{"type":"ticket.created"}"#]);
    assert_eq!(json(&site, &url, &explained).await["matched"], true);
    done(&site, &url, &with(&["channels", "set", "7", "--post-to", "https://a.example/", "--events", "received"]))
        .await;
    assert_eq!(json(&site, &url, &with(&["channels", "list"])).await["events"], serde_json::json!(["received"]));
    done(&site, &url, &with(&["channels", "delete", "7"])).await;
    done(&site, &url, &with(&["integrations", "create", "bot", "--post-to", "https://b.example/"])).await;
    done(&site, &url, &with(&["integrations", "bind", "12", "--integration", "bot", "--start-on-transfer"])).await;
    assert_eq!(done(&site, &url, &with(&["integrations", "unbind", "12"])).await, "subscription queue-12 deleted\n");

    let source = json(&site, &url, &with(&["sources", "create", "main", "--dialect", "whazing"])).await;
    let rotated = json(&site, &url, &with(&["sources", "rotate-token", "main"])).await;
    assert!(source["token"] != rotated["token"] && rotated["token"].as_str().expect("a token").starts_with("in_"));
    assert_eq!(rotated["old_token"]["secret"], "***");
    let rotated = json(&site, &url, &with(&["sources", "rotate", "main", "--overlap", "0s"])).await;
    assert_eq!(rotated.get("old_token"), None);
    let (code, _, said) = run(&site, &url, &with(&["sources", "rotate-token", "main", "--overlap", "31d"])).await;
    assert_eq!((code, said.contains("/overlap: must be at most 30d")), (1, true), "{said}");
    let key = json(&site, &url, &with(&["keys", "create", "backend", "--scopes", "read"])).await;
    let key = key["key"].as_str().expect("a key");
    let as_backend = ["--tenant", "acme", "--key", key];
    done(&site, &url, &[&["endpoints", "list"], &as_backend[..]].concat()).await;
    let (code, _, said) = run(&site, &url, &[&["endpoints", "delete", "crm"], &as_backend[..]].concat()).await;
    assert_eq!((code, said.starts_with("carteiro: 403: ")), (1, true), "{said}");
    let gone = done(&site, &url, &with(&["endpoints", "delete", "crm"])).await;
    assert_eq!(gone, "endpoint crm deleted\nsubscription all deleted\n");
    let audit = done(&site, &url, &with(&["audit", "--limit", "2"])).await;
    assert_eq!(audit.matches("deleted").count(), 2, "{audit}");
    assert!(done(&site, &url, &with(&["usage", "--by-endpoint"])).await.contains("deliveries"));
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
async fn apply_makes_it_what_files_say_and_export_is_its_inverse() {
    let (site, _standalone, url) = start().await;
    let write = |name: &str, text: &str| fs::write(site.path(name), text).expect("its own folder");
    write("acme.yaml", FILE);
    let made = "+ tenant acme\n+ endpoint acme/crm\n+ subscription acme/crm-7\n+ source acme/main\n";
    let dry = run(&site, &url, &["apply", "-f", "acme.yaml", "--dry-run"]).await;
    assert_eq!(dry, (0, made.to_owned(), "4 changes to make; nothing was changed\n".to_owned()));
    let applied = done(&site, &url, &["apply", "-f", "acme.yaml"]).await;
    assert!(applied.starts_with(made) && applied.contains("source acme/main token  in_"), "{applied}");

    done(&site, &url, &["channels", "set", "9", "--tenant", "acme", "--post-to", "https://n8n.example/"]).await;
    let plain = done(&site, &url, &["export"]).await;
    let whole = done(&site, &url, &["export", "--with-secrets"]).await;
    assert!(!plain.contains("S3CRET") && whole.contains("S3CRET") && whole.contains("token: in_"), "{plain}");
    for (name, text) in [("plain.yaml", &plain), ("whole.yaml", &whole), ("acme.yaml", &FILE.to_owned())] {
        write(name, text);
        let again = run(&site, &url, &["apply", "--dry-run", "-f", name]).await;
        assert_eq!(again, (0, String::new(), "nothing to change\n".to_owned()), "{name}");
    }
    let pruned = done(&site, &url, &["apply", "--prune", "-f", "acme.yaml"]).await;
    assert_eq!(pruned, "- endpoint acme/channel-9\n- subscription acme/channel-9\n");
    done(&site, &url, &["apply", "-f", "whole.yaml"]).await;
    assert_eq!(done(&site, &url, &["export", "--with-secrets"]).await, whole, "it restores everything");
}

#[tokio::test]
async fn apply_of_a_broken_file_changes_nothing_and_names_file_line_and_column() {
    let (site, _standalone, url) = start().await;
    let broken = FILE.replace("https://crm", "ftp://crm").replace("endpoint_id: crm", "endpoint_id: other");
    let torn = FILE.replace("dialect: whazing", "dialect: whatsing");
    fs::create_dir(site.path("conf")).expect("its own folder");
    for (text, told) in [
        (
            broken,
            &["site.yml:4:24: tenants[0].endpoints[0].url: must", "site.yml:6:34: tenants[0].subscriptions[0]"][..],
        ),
        (torn, &["site.yml:8:29: tenants[0].sources[0].dialect: unknown word"]),
    ] {
        fs::write(site.path("conf/site.yml"), text).expect("its own folder");
        let (code, stdout, stderr) = run(&site, &url, &["apply", "-f", "conf"]).await;
        assert_eq!((code, stdout.as_str()), (78, ""), "{stderr}");
        assert!(told.iter().all(|told| stderr.contains(&format!("conf/{told}"))), "{stderr}");
        assert!(stderr.ends_with("carteiro: nothing was changed\n"), "{stderr}");
        assert_eq!(done(&site, &url, &["export"]).await, "tenants: []\n");
    }
}

#[tokio::test]
async fn what_waited_when_a_backup_was_made_is_delivered_after_a_restore() {
    // Whoever asks while the first process runs is turned away.
    let away = Receiver::start(|_| Answer::status(503)).await;
    let (site, standalone, url) = start().await;
    let conf = crate::harness::acme(&away.url("/crm"));
    fs::write(site.path("acme.yaml"), conf).expect("its own folder");
    done(&site, &url, &["apply", "-f", "acme.yaml"]).await;
    let accepted = standalone.api().publish("acme", ids("kept", 20)).await;
    away.until("all were tried", |recorder| recorder.requests("/crm").len() >= 20).await;
    let made = site.run(&["backup", "backup.tar"]).await;
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    let refused = site.run(&["restore", "backup.tar", "--force"]).await;
    let said = String::from_utf8_lossy(&refused.stderr).into_owned();
    assert_eq!((refused.status.code(), said.contains("in use by another process")), (Some(78), true), "{said}");
    assert_eq!(standalone.end().await, 0);

    // What came after the backup, and what went, is as if it had not been.
    for name in ["broker.db", "broker.db-wal", "store.db", "store.key"] {
        fs::write(site.path(name), "lost").expect("its own folder");
    }
    let restored = site.run(&["restore", "backup.tar", "--force"]).await;
    assert!(restored.status.success(), "{}", String::from_utf8_lossy(&restored.stderr));
    let standalone = site.start("standalone").await;
    let receiver = Receiver::accepting().await;
    let url = format!("http://{}", standalone.logged("process.started").await["http"].as_str().expect("an API"));
    let to = receiver.url("/crm");
    done(&site, &url, &["endpoints", "patch", "crm", "--tenant", "acme", "--post-to", &to]).await;
    receiver.until("all arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn no_process_starts_on_what_a_restore_has_not_finished() {
    let site = Site::embedded("tenants: []");
    fs::write(site.path("restore.unfinished"), "").expect("its own folder");
    let output = site.run(&["standalone"]).await;
    let said = String::from_utf8(output.stderr).expect("text");
    assert_eq!(
        (output.status.code(), said.contains("run `carteiro restore --force` again")),
        (Some(78), true),
        "{said}"
    );
}

#[tokio::test]
async fn what_ended_while_an_endpoint_was_disabled_is_offered_for_replay_and_arrives() {
    let is_back = Arc::new(AtomicBool::new(false));
    let back = is_back.clone();
    let status = move |_: &_| Answer::status(if back.load(Ordering::Relaxed) { 200 } else { 410 });
    let receiver = Receiver::start(status).await;
    let (site, standalone, url) = start().await;
    let of = ["--tenant", "acme"];
    done(&site, &url, &["tenants", "create", "acme"]).await;
    let hook = receiver.url("/crm");
    done(&site, &url, &[&["endpoints", "create", "crm", "--post-to", &hook][..], &of].concat()).await;
    let subscribe = ["subscriptions", "create", "all", "--endpoint-id", "crm", "--event-types", "ticket.*,message.*"];
    done(&site, &url, &[&subscribe[..], &of].concat()).await;
    standalone.api().publish("acme", ids("gone", 1)).await;
    let show = [&["endpoints", "show", "crm"][..], &of].concat();
    eventually("it is disabled", || async {
        let endpoint = json(&site, &url, &show).await;
        (endpoint["state"] == "disabled" && endpoint["disabled_reason"].is_string()).then_some(())
    })
    .await;
    let waiting = standalone.api().publish("acme", ids("waiting", 3)).await;
    let reason = ["--endpoint-id", "crm", "--reason", "endpoint_disabled"];
    let list = [&["dead-letters", "list", "--output", "json"][..], &of, &reason].concat();
    eventually("they have ended", || async {
        let listed = site.run(&list).await;
        (String::from_utf8_lossy(&listed.stdout).lines().count() == 3).then_some(())
    })
    .await;

    is_back.store(true, Ordering::Relaxed);
    let (code, enabled, offer) = run(&site, &url, &[&["endpoints", "enable", "crm"][..], &of].concat()).await;
    assert_eq!((code, enabled.as_str()), (0, "endpoint crm enabled\n"));
    let (_, command) = offer.trim_end().split_once("3 of its deliveries").expect("an offer");
    let (_, command) = command.split_once("carteiro ").expect("a command");
    done(&site, &url, &command.split(' ').collect::<Vec<_>>()).await;
    receiver.until("what had ended arrives", |recorder| recorder.has_all("/crm", &waiting)).await;
}
