//! Configurations and situations in which a process or command does not start, and its exit codes.

use std::fs;

use reqwest::Method;

use crate::harness::{AmqpClient, KEY, Postgres, Site, acme};

/// A URL to which nothing is ever sent.
const NOWHERE: &str = "http://127.0.0.1:9/hooks";

/// Runs the binary to its end. Returns its exit code and its stderr.
async fn ends(site: &Site, arguments: &[&str]) -> (i32, String) {
    let output = site.run(arguments).await;
    let said = String::from_utf8(output.stderr).expect("text");
    assert!(output.stdout.is_empty(), "stdout is for results");
    (output.status.code().expect("it ends by itself"), said)
}

#[tokio::test]
async fn an_unknown_key_in_yaml_exits_78_and_names_its_line() {
    let site = Site::embedded(&acme(NOWHERE).replace("url:", "urll:"));
    for command in [&["standalone"][..], &["config", "check"]] {
        let (code, said) = ends(&site, command).await;
        assert_eq!(code, 78, "{said}");
        assert!(said.contains("site.yaml:4:") && said.contains("urll: unknown key, did you mean url?"), "{said}");
    }
}

#[tokio::test]
async fn a_port_that_is_taken_exits_75() {
    let taken = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = taken.local_addr().expect("an address").to_string();
    for key in ["http.listen", "ops.listen"] {
        let site = Site::embedded(&acme(NOWHERE)).set(key, &address);
        let (code, said) = ends(&site, &["standalone"]).await;
        assert_eq!((code, said.contains(&format!("{key}: {address} is taken"))), (75, true), "{said}");
    }
}

#[tokio::test]
async fn a_role_of_its_own_on_the_embedded_broker_exits_78_and_says_why() {
    let site = Site::embedded(&acme(NOWHERE));
    for role in ["producer", "router", "deliverer", "control"] {
        let (code, said) = ends(&site, &[role]).await;
        assert_eq!((code, said.contains("broker.url: the embedded broker lives inside")), (78, true), "{said}");
    }
}

#[tokio::test]
async fn a_second_standalone_on_the_same_folder_exits_78() {
    let site = Site::embedded(&acme(NOWHERE));
    let first = site.start("standalone").await;
    let (code, said) = ends(&site, &["standalone"]).await;
    assert_eq!((code, said.contains("in use by another process")), (78, true), "{said}");
    assert_eq!(first.end().await, 0);
}

#[tokio::test]
async fn a_process_raises_its_limit_of_open_files_and_logs_when_that_is_too_low() {
    let site = Site::embedded(&acme(NOWHERE));
    let enough = site.start_with_files("standalone", 300, 6_000).await;
    let metrics = enough.ops().anonymous(Method::GET, "/metrics").send().await.expect("an answer");
    let metrics = metrics.text().await.expect("text");
    assert!(metrics.contains("\nprocess_max_fds 6000\n"), "{metrics}");
    assert!(enough.log().iter().all(|line| line["message"] != "files.few"));
    assert_eq!(enough.end().await, 0);

    let few = site.start_with_files("standalone", 300, 1_000).await;
    let said = few.logged("files.few").await;
    assert_eq!((said["limit"].as_u64(), said["needed"].as_u64()), (Some(1_000), Some(5_120)), "{said}");
    assert_eq!(few.end().await, 0);
}

#[tokio::test]
async fn an_unknown_key_is_refused_with_the_nearest_and_where_it_was_set() {
    let wrong = "broker.prefx: unknown key, did you mean broker.prefix?";
    let site = Site::embedded("tenants: []");
    fs::write(site.path("wrong.toml"), "[broker]\nprefx = \"x\"\n").expect("its own folder");
    for (arguments, origin) in [
        (&["--set", "broker.prefx=x", "config", "check"][..], "(in the command line)"),
        (&["--config", "wrong.toml", "config", "check"], "(in wrong.toml)"),
    ] {
        let (code, said) = ends(&site, arguments).await;
        assert_eq!((code, said), (78, format!("carteiro: {wrong} {origin}\n")));
    }
    let (code, said) = ends(&site.set("broker.prefx", "x"), &["config", "check"]).await;
    assert_eq!((code, said), (78, format!("carteiro: {wrong} (in CARTEIRO_BROKER__PREFX)\n")));
}

#[tokio::test]
async fn values_that_cannot_be_used_exit_78_and_name_their_key() {
    let table = [
        ("data_dir", ""),
        ("http.listen", "nowhere"),
        ("ops.listen", "127.0.0.1:99999"),
        ("broker.url", "http://127.0.0.1"),
        ("store.url", "sqlite:"),
        ("store.url", "sqlite:no-such-folder/store.db"),
        ("telemetry.level", "loud"),
        ("deliverer.slots", "0"),
        ("http.public_url", "carteiro.example"),
        ("http.public_url", "https://carteiro.example/api"),
        ("http.public_url", "https://user:pass@carteiro.example"),
        ("broker.max_bytes", "1000"),
        ("broker.dead_letters_bytes", "99999999"),
        ("broker.parked_bytes", "0"),
        ("deliverer.slow_slots", "0"),
        ("deliverer.allow_networks", "everywhere"),
        ("deliverer.name_servers", "10.0.0.2"),
        ("deliverer.name_servers", "0.0.0.0:53"),
        ("ops.max_stuck", "10ms"),
        ("deliverer.max_idle_connections", "-1"),
    ];
    let site = Site::embedded("tenants: []");
    for (key, value) in table {
        let (code, said) = ends(&site, &["--set", &format!("{key}={value}"), "config", "check"]).await;
        assert_eq!((code, said.starts_with(&format!("carteiro: {key}"))), (78, true), "{said}");
    }
}

#[tokio::test]
async fn all_values_that_cannot_be_used_are_named_at_once() {
    let site =
        Site::embedded("tenants: []").set("deliverer.slots", "many").variable("CARTEIRO_HTTP_LISTEN", "127.0.0.1:1");
    let (code, said) = ends(&site, &["--set", "telemetry.level=loud", "config", "check"]).await;
    assert_eq!(code, 78, "{said}");
    for found in ["did you mean CARTEIRO_HTTP__LISTEN?", "deliverer.slots: ", "telemetry.level: "] {
        assert!(said.contains(found), "{found} is missing: {said}");
    }
}

#[tokio::test]
async fn a_folder_of_yaml_that_is_missing_is_pointed_out() {
    let site = Site::embedded("tenants: []").set("store.url", "file:no-such-folder");
    let output = site.run(&["config", "check"]).await;
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(output.status.success() && said.contains("note: store.url: there is no folder no-such-folder"), "{said}");
    let process = site.start("standalone").await;
    assert_eq!(process.logged("store.folder_missing").await["folder"], "no-such-folder");
    assert_eq!(process.end().await, 0);
}

#[tokio::test]
async fn a_second_process_with_the_same_folder_for_its_snapshot_exits_78() {
    let postgres = Postgres::start().await;
    let site = Site::on_rabbitmq("tenants: []").await;
    let site = site.set("store.url", postgres.url()).set("store.encryption_key", "a-key-of-the-tests-long-enough");
    let first = site.start("deliverer").await;
    let folder = site.path("deliverer-0").display().to_string();
    let (code, said) = ends(&site, &["--data-dir", &folder, "router"]).await;
    assert_eq!((code, said.contains("another process uses this folder")), (78, true), "{said}");
    assert_eq!(first.end().await, 0);
}

#[tokio::test]
async fn wrong_usage_exits_64() {
    let site = Site::embedded("tenants: []");
    let table: [&[&str]; 8] = [
        &["deliver"],
        &["--verbose"],
        &["--set", "broker.prefix", "config", "check"],
        &["publish"],
        &["publish", "--tenant", "acme", "--server", "127.0.0.1:8080"],
        &["dead-letters", "replay"],
        &["dead-letters", "list", "--reason", "bored"],
        &["events", "sample", "ticket.lost"],
    ];
    for arguments in table {
        let (code, said) = ends(&site, arguments).await;
        assert_eq!(code, 64, "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn a_topology_that_is_not_as_required_exits_78() {
    let site = Site::on_rabbitmq(&acme(NOWHERE)).await;
    let queue = format!("{}.v1.ingest", site.broker().prefix);
    AmqpClient::connect(&site).await.declare_plain(&queue).await;
    for arguments in [&["router"][..], &["topology", "apply"]] {
        let output = site.run(arguments).await;
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!((output.status.code(), said.contains(&queue)), (Some(78), true), "{arguments:?}: {said}");
    }
    let verified = site.run(&["topology", "verify"]).await;
    let differences = String::from_utf8(verified.stdout).expect("text");
    assert_eq!((verified.status.code(), differences.contains(&queue)), (Some(78), true), "{differences}");
}

#[tokio::test]
async fn a_command_declares_nothing_on_a_broker_that_no_role_has_seen() {
    let site = Site::on_rabbitmq("tenants: []").await;
    let broker = site.broker();
    let missing = format!("carteiro: exchange {}.v1.park is missing: run `carteiro topology apply`\n", broker.prefix);
    for command in [&["dead-letters", "list"][..], &["parked", "list"], &["publish", "--tenant", "acme"]] {
        let command = [command, &["--broker", &broker.url]].concat();
        assert_eq!(ends(&site, &command).await, (78, missing.clone()), "{command:?}");
    }
}

#[tokio::test]
async fn a_command_with_a_wrong_broker_password_exits_69_and_does_not_repeat_it() {
    let site = Site::on_rabbitmq("tenants: []").await;
    let wrong = site.broker().url.replace("guest:guest@", "guest:not-the-password@");
    let (code, said) = ends(&site, &["topology", "verify", "--broker", &wrong]).await;
    assert_eq!((code, said.contains("ACCESS_REFUSED") && !said.contains("not-the-password")), (69, true), "{said}");
}

#[tokio::test]
async fn a_command_without_a_server_exits_69() {
    let site = Site::embedded(&acme(NOWHERE)).set("http.listen", "127.0.0.1:9");
    fs::write(site.path("event.json"), r#"{"type":"ticket.created"}"#).expect("its own folder");
    let published = site.run(&["publish", "--tenant", "acme", "event.json", "--output", "json"]).await;
    let said = String::from_utf8(published.stdout).expect("text");
    assert_eq!(published.status.code(), Some(69), "{said}");
    assert!(
        said.ends_with("{\"kind\":\"summary\",\"read\":1,\"confirmed\":0,\"failed\":1,\"repeated\":0}\n"),
        "{said}"
    );
    let away = ["--broker", "amqp://127.0.0.1:9"];
    for arguments in
        [&["dead-letters", "list"][..], &["parked", "list"], &["topology", "apply"], &["topology", "verify"]]
    {
        let (code, said) = ends(&site, &[arguments, &away].concat()).await;
        assert_eq!((code, said.contains(KEY)), (69, false), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn the_description_of_the_api_is_served_by_a_producer_alone() {
    let site = Site::on_rabbitmq(&acme(NOWHERE)).await;
    let producer = site.start("producer").await;
    producer.ready().await;
    for (path, kind) in [("/docs", "text/html"), ("/v1/openapi.json", "application/json")] {
        let answer = producer.api().anonymous(Method::GET, path).send().await.expect("it answers");
        assert_eq!(answer.status(), 200, "{path}");
        assert!(answer.headers()["content-type"].to_str().expect("text").starts_with(kind), "{path}");
    }
}
