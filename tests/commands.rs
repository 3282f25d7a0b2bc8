//! The commands, on both brokers: their output and their exit codes.

use std::{
    process::Stdio,
    sync::{
        Arc,
        atomic::{AtomicU16, Ordering},
    },
};

use carteiro::receiver::Answer;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader};

use crate::harness::{KEY, Process, Receiver, Site, client, eventually, ids, in_time};

const CREATED: &str = "tests/fixtures/canonical/whazing-channel-NewTicket.json";
const RECEIVED: &str = "tests/fixtures/canonical/whazing-channel-message.json";

/// The YAML of one endpoint whose deliveries end with their first failure.
fn conf(url: &str) -> String {
    format!(
        "tenants:
  - id: acme
    endpoints:
      - {{id: crm, url: \"{url}\", retry: {{schedule: [], max_age: 1h}}}}
    subscriptions:
      - {{id: all, endpoint_id: crm, event_types: [\"*\"]}}
"
    )
}

fn fixture(name: &str) -> String {
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    std::fs::read_to_string(path).expect("a fixture")
}

/// Runs the binary to its end with `input`. Returns its exit code, its stdout and its stderr.
async fn fed(site: &Site, arguments: &[&str], input: &str) -> (i32, String, String) {
    let mut command = site.command();
    command.args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    // Fails when the command ends without having read all input.
    let _ = stdin.write_all(input.as_bytes()).await;
    drop(stdin);
    output(in_time("it ends", child.wait_with_output()).await.expect("it ran"))
}

/// The exit code, the stdout and the stderr of a command.
fn output(output: std::process::Output) -> (i32, String, String) {
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (output.status.code().expect("it ends by itself"), text(output.stdout), text(output.stderr))
}

/// Runs the binary to its end without input. Returns its exit code, its stdout and its stderr.
async fn run(site: &Site, arguments: &[&str]) -> (i32, String, String) {
    fed(site, arguments, "").await
}

/// Runs a command that must succeed. Returns its lines of JSON.
async fn lines(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let (code, stdout, stderr) = run(site, &[arguments, &["--output", "json"]].concat()).await;
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

/// A standalone process on which two deliveries have ended as dead letters.
struct DeadLetters {
    site: Site,
    standalone: Process,
    receiver: Receiver,
    /// Status of the receiver's answers.
    status: Arc<AtomicU16>,
    /// URL of the API.
    url: String,
    /// Id of the dead letter of `ticket.created`; the other one is of `message.received`.
    created: String,
}

impl DeadLetters {
    /// Starts it on a site with the given tenants.
    async fn start(site: impl AsyncFnOnce(&str) -> Site) -> Self {
        let status = Arc::new(AtomicU16::new(500));
        let answer = status.clone();
        let receiver = Receiver::start(move |_| Answer::status(answer.load(Ordering::Relaxed))).await;
        let site = site(&conf(&receiver.url("/crm"))).await;
        let standalone = site.start("standalone").await;
        let url = standalone.api().url();
        standalone.ready().await;
        let both = fixture(CREATED) + &fixture(RECEIVED);
        let published = fed(&site, &["publish", "--tenant", "acme", "--server", &url, "--output", "json"], &both).await;
        let summary = "{\"kind\":\"summary\",\"read\":2,\"confirmed\":2,\"failed\":0,\"repeated\":0}\n";
        assert!(published.1.ends_with(summary), "{}", published.1);
        let letters = eventually("both are dead", || async {
            let letters = looked(&site, &["dead-letters", "list", "--tenant", "acme", "--reason", "exhausted"]).await;
            (letters.len() == 2).then_some(letters)
        })
        .await;
        let created = letters.iter().find(|letter| letter["event_type"] == "ticket.created").expect("it is listed");
        assert_eq!((&created["endpoint_id"], &created["last"]["status"]), (&Value::from("crm"), &Value::from(500)));
        let created = created["id"].as_str().expect("an id").to_owned();
        Self { site, standalone, receiver, status, url, created }
    }

    /// Filters, shows and exports them.
    async fn are_listed_shown_and_exported(self) {
        let (site, id) = (&self.site, self.created.as_str());
        let by_type = ["dead-letters", "list", "--event-type", "ticket.created", "--endpoint-id", "crm", "--ids", id];
        assert_eq!(looked(site, &by_type).await.len(), 1);
        assert_eq!(looked(site, &["dead-letters", "list", "--until", "2020-01-01T00:00:00Z"]).await.len(), 0);
        let shown = looked(site, &["dead-letters", "show", id]).await;
        assert_eq!(shown[0]["body"]["type"], "ticket.created", "{shown:?}");
        let exported = looked(site, &["dead-letters", "export", "--event-type", "ticket.created"]).await;
        assert_eq!(exported, shown);
        let counted = looked(site, &["dead-letters", "counts", "--by", "tenant"]).await;
        assert_eq!(counted, [json!({"tenant": "acme", "count": 2})]);
        let (code, table, stderr) = output(site.look(&["dead-letters", "list", "--limit", "1"]).await);
        let advice = "exhausted: it failed until its schedule ended";
        assert_eq!((code, table.contains(advice), table.contains('\u{1b}')), (0, true, false), "{table}");
        assert!(stderr.contains("there are more than 1"), "{stderr}");
        let (code, _, stderr) = output(site.look(&["dead-letters", "list", "--tenant", "nobody"]).await);
        assert_eq!((code, stderr.starts_with("carteiro: 404: ")), (1, true), "{stderr}");
    }

    /// Replays one of them and discards the other one, which the running process does.
    async fn are_replayed_and_discarded(mut self, is_read_without_a_process: bool) {
        let (site, url, id) = (&self.site, self.url.as_str(), self.created.as_str());
        let server = ["--server", url, "--key", KEY];
        self.status.store(200, Ordering::Relaxed);
        let all = [&["dead-letters", "replay", "--all"][..], &server].concat();
        let dry = lines(site, &[&all[..], &["--dry-run"]].concat()).await;
        assert_eq!(dry, [json!({"matched": 2, "replayed": 0, "skipped": 0})]);
        let (code, _, stderr) = run(site, &all).await;
        assert_eq!((code, stderr.contains("2 dead letters will be sent again: give --yes")), (64, true), "{stderr}");
        let one = [&["dead-letters", "replay", id][..], &server].concat();
        let once = lines(site, &one).await.remove(0);
        assert_eq!((&once["matched"], &once["replayed"], &once["skipped"]), (&1.into(), &1.into(), &0.into()));
        self.receiver.until("the one arrives", |recorder| recorder.delivered("/crm") == 1).await;
        let (code, _, stderr) = run(site, &one).await;
        assert_eq!((code, stderr.contains("no such dead letter")), (1, true), "{stderr}");

        let replays = lines(site, &[&["replays", "list"][..], &server].concat()).await;
        assert_eq!((&replays[0]["id"], &replays[0]["state"]), (&once["replays"]["acme"], &"done".into()));
        let shown = [&["replays", "show", replays[0]["id"].as_str().expect("an id")][..], &server].concat();
        assert_eq!(lines(site, &shown).await, replays);
        self.standalone.terminate().await;
        assert_eq!(self.standalone.ended().await, Some(0));

        let (code, listed, stderr) = output(site.look(&["dead-letters", "list", "--output", "json"]).await);
        if is_read_without_a_process {
            assert_eq!((code, listed.lines().count()), (0, 1), "{stderr}");
        } else {
            assert_eq!((code, stderr.contains("is carteiro running there?")), (69, true), "{stderr}");
        }
        self.standalone.restart().await;
        let url = self.standalone.api().url();
        let discard = ["dead-letters", "discard", "--all", "--server", &url, "--key", KEY];
        let (code, _, stderr) = run(site, &discard).await;
        assert_eq!((code, stderr.contains("1 dead letter will be discarded")), (64, true), "{stderr}");
        let (code, discarded, stderr) = run(site, &[&discard[..], &["--yes"]].concat()).await;
        assert_eq!((code, discarded.as_str()), (0, "1 of 1 discarded\n"), "{stderr}");
        assert_eq!(looked(site, &["dead-letters", "list"]).await.len(), 0);
    }
}

/// Runs a command that reads a log. Returns its lines of JSON.
async fn looked(site: &Site, arguments: &[&str]) -> Vec<Value> {
    let json = if arguments.contains(&"export") { &[][..] } else { &["--output", "json"] };
    let (code, stdout, stderr) = output(site.look(&[arguments, json].concat()).await);
    assert_eq!(code, 0, "{arguments:?}: {stderr}");
    stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
}

#[tokio::test]
async fn dead_letters_on_the_embedded_broker_are_listed_shown_and_exported() {
    DeadLetters::start(async |conf| Site::embedded(conf)).await.are_listed_shown_and_exported().await;
}

#[tokio::test]
async fn dead_letters_on_rabbitmq_are_listed_shown_and_exported() {
    DeadLetters::start(async |conf| Site::on_rabbitmq(conf).await).await.are_listed_shown_and_exported().await;
}

#[tokio::test]
async fn dead_letters_on_the_embedded_broker_are_replayed_and_discarded_by_the_running_process() {
    DeadLetters::start(async |conf| Site::embedded(conf)).await.are_replayed_and_discarded(false).await;
}

#[tokio::test]
async fn dead_letters_on_rabbitmq_are_replayed_and_discarded_by_the_running_process() {
    DeadLetters::start(async |conf| Site::on_rabbitmq(conf).await).await.are_replayed_and_discarded(true).await;
}

#[tokio::test]
async fn a_replay_of_all_goes_on_after_a_tenant_that_is_refused_and_names_it() {
    let receiver = Receiver::accepting().await;
    let conf = |disabled: &[&str]| {
        let tenants = ["acme", "beta", "zeta"].map(|tenant| {
            let state = if disabled.contains(&tenant) { "disabled" } else { "active" };
            let url = receiver.url(&format!("/{tenant}"));
            format!(
                "  - {{id: {tenant}, endpoints: [{{id: crm, url: \"{url}\", state: {state}}}], \
                 subscriptions: [{{id: all, endpoint_id: crm, event_types: [ticket.created]}}]}}\n"
            )
        });
        format!("tenants:\n{}", tenants.concat())
    };
    let site = Site::embedded(&conf(&["acme", "beta", "zeta"]));
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    for tenant in ["acme", "beta", "zeta"] {
        standalone.api().publish(tenant, ids("event", 1)).await;
    }
    eventually("all are dead", || async { (looked(&site, &["dead-letters", "list"]).await.len() == 3).then_some(()) })
        .await;
    site.configure(&conf(&["beta"]));
    let url = standalone.api().url();
    let replay = ["dead-letters", "replay", "--all", "--yes", "--server", &url, "--key", KEY];
    let (code, replayed, stderr) = run(&site, &replay).await;
    assert_eq!((code, replayed.as_str()), (1, "2 of 3 replayed\n"), "{stderr}");
    assert!(stderr.contains("not replayed: beta: 409") && !stderr.contains("acme: 409"), "{stderr}");
    for path in ["/acme", "/zeta"] {
        receiver.until("it arrives", |recorder| recorder.delivered(path) == 1).await;
    }
    let left = looked(&site, &["dead-letters", "list"]).await;
    assert_eq!((left.len(), &left[0]["tenant"]), (1, &Value::from("beta")));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn publish_reads_every_form_of_input_and_prints_which_events_were_not_confirmed() {
    let receiver = Receiver::accepting().await;
    let site = Site::embedded(&conf(&receiver.url("/crm")));
    let standalone = site.start("standalone").await;
    let http = standalone.logged("process.started").await["http"].as_str().expect("an API").to_owned();
    let url = format!("http://{http}");
    let publish = ["publish", "--tenant", "acme", "--server", &url];
    let event = |id: &str| format!("{{\"id\":\"{id}\",\"type\":\"ticket.created\"}}");
    let table = [
        (fixture(CREATED), 1),
        (format!("[{},{}]", event("array-1"), event("array-2")), 2),
        (format!("{}\n{}\n\n{}\n", event("lines-1"), event("lines-2"), event("lines-3")), 3),
    ];
    let mut expected = 0;
    for (input, count) in table {
        let (code, stdout, stderr) = fed(&site, &publish, &input).await;
        let summary = format!("{count} of {count} confirmed, 0 failed");
        assert_eq!((code, stdout.lines().last()), (0, Some(summary.as_str())), "{stderr}");
        assert_eq!(stdout.lines().count(), count + 1, "each id, and the summary: {stdout}");
        expected += count;
    }
    receiver.until("all arrive", |recorder| recorder.delivered("/crm") == expected).await;

    let mixed = format!("{} {{\"type\":\"ticket\"}} {}", event("mixed-1"), event("mixed-3"));
    let (code, stdout, stderr) = fed(&site, &publish, &mixed).await;
    assert_eq!((code, stdout.as_str()), (1, "mixed-1\nmixed-3\n2 of 3 confirmed, 1 failed\n"));
    assert!(stderr.contains("event 2: 422: /type: "), "{stderr}");
    let (code, stdout, _) = fed(&site, &[&publish[..], &["--output", "json"]].concat(), &mixed).await;
    let mut said: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let summary = said.pop().expect("a summary");
    let expected = json!({"kind": "summary", "read": 3, "confirmed": 2, "failed": 1, "repeated": 2});
    assert_eq!((code, summary), (1, expected));
    said.sort_by_key(|line| line["number"].as_u64());
    assert_eq!(said[0], json!({"kind": "accepted", "number": 1, "id": "mixed-1", "repeated": true}));
    assert_eq!((&said[1]["kind"], &said[1]["number"]), (&"failed".into(), &2.into()));
    let (code, stdout, _) = fed(&site, &[&publish[..], &["--from", "3"]].concat(), &mixed).await;
    let repeated =
        "1 of 1 confirmed (1 repeated: accepted before under the same id, and not delivered again), 0 failed";
    assert_eq!((code, stdout), (0, format!("mixed-3  repeated\n{repeated}\n")));
    let (code, stdout, stderr) = fed(&site, &publish, &format!("{} {{\"id", event("torn-1"))).await;
    assert_eq!((code, stdout.as_str()), (1, "torn-1\n1 of 1 confirmed, 0 failed\n"));
    assert!(stderr.contains("not read to its end"), "{stderr}");
    let nothing = "carteiro: nothing to publish: the input is empty\n";
    for (input, code, said) in [("", 64, nothing), (" \n", 64, nothing), ("[]", 0, "")] {
        let ended = fed(&site, &publish, input).await;
        assert_eq!((ended.0, ended.1.as_str(), ended.2.as_str()), (code, "0 of 0 confirmed, 0 failed\n", said));
    }
    let misspelt = r#"{"id":"misspelt-1","type":"mesage.received"}"#;
    let meant = "/type: no such type is known, did you mean message.received?\n";
    let (code, stdout, stderr) = fed(&site, &publish, misspelt).await;
    assert_eq!((code, stdout.as_str()), (0, "misspelt-1\n1 of 1 confirmed, 0 failed\n"));
    assert_eq!(stderr, format!("warning: event 1: {meant}"));
    let (code, stdout, stderr) = fed(&site, &[&publish[..], &["--strict"]].concat(), misspelt).await;
    assert_eq!((code, stdout.as_str()), (1, "0 of 1 confirmed, 1 failed\n"));
    assert_eq!(stderr, format!("event 1: 422: {meant}"));
    let boticario = fixture("tests/fixtures/vendor/boticario-response.json");
    let (code, _, stderr) = fed(&site, &[&publish[..], &["--dialect", "whazing"]].concat(), &boticario).await;
    assert_eq!((code, stderr.contains("but boticario has: is the dialect right?")), (0, true), "{stderr}");
    let (code, _, stderr) = fed(&site, &["publish", "--tenant", "nobody", "--server", &url], &event("x")).await;
    assert_eq!((code, stderr.as_str()), (1, "event 1: 404: there is no tenant `nobody`\n"));
}

#[tokio::test]
async fn publish_says_at_ctrl_c_where_to_go_on() {
    let hanging = Receiver::start(|_| Answer::Hang).await;
    let site = Site::embedded("tenants: []");
    let mut command = site.command();
    command.args(["publish", "--tenant", "acme", "--key", "k", "--from", "2", "--server", &hanging.url("")]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    let mut stdin = child.stdin.take().expect("piped");
    stdin.write_all("{\"type\":\"a.b\"}\n".repeat(3).as_bytes()).await.expect("it reads");
    drop(stdin);
    let events = "/v1/tenants/acme/events";
    hanging.until("both are sent", |recorder| recorder.requests(events).len() == 2).await;
    let id = child.id().expect("it runs").to_string();
    let sent = tokio::process::Command::new("kill").args(["-INT", &id]).status().await.expect("kill runs");
    assert!(sent.success(), "it had ended");
    let output = in_time("it ends", child.wait_with_output()).await.expect("it ran");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    let (stdout, stderr) = (text(output.stdout), text(output.stderr));
    assert_eq!((output.status.code(), stdout.as_str()), (Some(1), "0 of 2 confirmed, 0 failed\n"), "{stderr}");
    assert!(stderr.contains("Interrupted: --from 2 goes on with"), "{stderr}");
}

#[tokio::test]
async fn publish_reads_a_vendors_bodies_and_goes_straight_to_rabbitmq() {
    let receiver = Receiver::accepting().await;
    let original = conf(&receiver.url("/crm")).replace("retry:", "format: original, retry:");
    let site = Site::on_rabbitmq(&original).await;
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    let body = fixture("tests/fixtures/vendor/boticario-response.json");
    let broker = site.broker().url.clone();
    let vendors = ["publish", "--tenant", "acme", "--dialect", "boticario", "--channel", "7", "--broker", &broker];
    let (code, stdout, stderr) = fed(&site, &vendors, &body).await;
    assert_eq!((code, stdout.lines().last()), (0, Some("1 of 1 confirmed, 0 failed")), "{stderr}");
    receiver.until("it arrives", |recorder| recorder.delivered("/crm") == 1).await;
    let arrived: Value =
        receiver.look(|recorder| serde_json::from_slice(&recorder.requests("/crm")[0].body).expect("JSON"));
    assert_eq!(arrived, serde_json::from_str::<Value>(&body).expect("JSON"));
}

#[tokio::test]
async fn publish_fails_for_another_event_under_one_id_and_takes_a_repeat() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&conf(&receiver.url("/crm"))).await;
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    let (url, broker) = (standalone.api().url(), site.broker().url.clone());
    let event = |id: &str, kind: &str| format!(r#"{{"id":"{id}","type":"{kind}"}}"#);
    let publish = ["publish", "--tenant", "acme", "--server", &url];
    let first = event("api", "ticket.created");
    let (code, stdout, stderr) = fed(&site, &publish, &format!("[{first}, {first}]")).await;
    // Of two at once, either may be accepted first, and neither is then known as a repeat.
    assert!(code == 0 && stdout.contains("2 of 2 confirmed"), "{stdout}{stderr}");
    let repeated = "(1 repeated: accepted before under the same id, and not delivered again)";
    let (code, stdout, stderr) = fed(&site, &publish, &format!("[{}, {first}]", event("api", "ticket.closed"))).await;
    let reason = "event 1: 409: /id: another event has this id; a repeat must have the same bytes\n";
    let stdout = stdout.lines().last().map(str::to_owned);
    assert_eq!((code, stdout, stderr.as_str()), (1, Some(format!("1 of 2 confirmed {repeated}, 1 failed")), reason));

    let publish = ["publish", "--tenant", "acme", "--broker", &broker];
    let both = event("broker", "ticket.created") + &event("broker", "ticket.closed");
    let (code, stdout, stderr) = fed(&site, &publish, &both).await;
    let reason = "event 2: 1 of 1 events have the id of another event, which was accepted or is about to be\n";
    assert_eq!((code, stdout.as_str(), stderr.as_str()), (1, "broker\n1 of 2 confirmed, 1 failed\n", reason));

    // The command writes no time of its own into a body, which is then the same event whenever it is published.
    let vendors = ["publish", "--tenant", "acme", "--dialect", "whazing", "--server", &url];
    for _ in 0..2 {
        let (code, _, stderr) = fed(&site, &vendors, r#"{"messageId":"A","ticket":{"id":1}}"#).await;
        assert_eq!(code, 0, "{stderr}");
    }
    receiver.until("all arrive", |recorder| recorder.delivered("/crm") == 3).await;
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn the_configuration_is_shown_with_its_origins_and_without_its_secrets() {
    let site = Site::embedded("tenants: []")
        .set("broker.url", "amqp://me:hunter2@broker/%2f")
        .set("store.url", "postgres://me:hunter2@db/carteiro?sslmode=require")
        .set("history.url", "postgresql://me:hunter2@db/records")
        .set("store.encryption_key", "a-key-of-many-characters")
        .set("store.old_encryption_keys", "an-old-key-of-many-characters");
    let (code, shown, _) = run(&site, &["--set", "broker.prefix=mine", "config", "show"]).await;
    assert_eq!(code, 0);
    assert!(!shown.contains("hunter2") && !shown.contains(KEY) && !shown.contains("-key-of"), "{shown}");
    for line in [
        "url = \"amqp://me:***@broker/%2f\"  # CARTEIRO_BROKER__URL",
        "prefix = \"mine\"  # the command line",
        "operator_key = \"***\"  # CARTEIRO_HTTP__OPERATOR_KEY",
        "url = \"postgres://me:***@db/carteiro?sslmode=require\"  # CARTEIRO_STORE__URL",
        "url = \"postgresql://me:***@db/records\"  # CARTEIRO_HISTORY__URL",
        "encryption_key = \"***\"  # CARTEIRO_STORE__ENCRYPTION_KEY",
        "old_encryption_keys = \"***\"  # CARTEIRO_STORE__OLD_ENCRYPTION_KEYS",
        "exchange = \"ticketing.events\"  # default",
    ] {
        assert!(shown.lines().any(|shown| shown == line), "{line} is not in\n{shown}");
    }
    let (code, checked, _) = run(&site, &["config", "check"]).await;
    assert!(code == 0 && checked.starts_with("the configuration can be used\n"), "{checked}");
}

#[tokio::test]
async fn the_commands_schema_sample_completions_and_help_need_no_configuration() {
    let site = Site::embedded("tenants: []");
    let (code, schema, _) = run(&site, &["events", "schema"]).await;
    assert_eq!(
        (code, serde_json::from_str::<Value>(&schema).expect("JSON")["title"].clone()),
        (0, "ticketing.event/1".into())
    );
    let (code, sample, _) = run(&site, &["events", "sample", "ticket.closed"]).await;
    assert_eq!(
        (code, serde_json::from_str::<Value>(&sample).expect("JSON")["type"].clone()),
        (0, "ticket.closed".into())
    );
    for shell in ["bash", "zsh", "fish"] {
        let (code, script, _) = run(&site, &["completions", shell]).await;
        assert!(code == 0 && script.contains("dead-letters"), "{shell}");
    }
    let (code, help, _) = run(&site, &["--help"]).await;
    assert!(code == 0 && help.contains("standalone") && !help.contains('\u{1b}'), "{help}");
}

#[tokio::test]
async fn a_reader_that_closes_stdout_early_is_no_failure() {
    let site = Site::embedded("tenants: []");
    let mut command = site.command();
    command.args(["events", "schema"]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("the binary runs");
    drop(child.stdout.take());
    let output = in_time("it ends", child.wait_with_output()).await.expect("it ran");
    assert_eq!((output.status.code(), String::from_utf8_lossy(&output.stderr).as_ref()), (Some(0), ""));
}

#[tokio::test]
async fn listen_prints_what_arrives_and_answers_with_the_given_status() {
    let site = Site::embedded("tenants: []");
    let mut command = site.command();
    command.args(["listen", "--listen", "127.0.0.1:0", "--status", "503", "--output", "json"]);
    let mut child =
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("it runs");
    let mut stderr = BufReader::new(child.stderr.take().expect("piped")).lines();
    let mut stdout = BufReader::new(child.stdout.take().expect("piped")).lines();
    let said = in_time("it says where", stderr.next_line()).await.expect("text").expect("a line");
    let url = said.split_whitespace().find(|word| word.starts_with("http")).expect("a url").trim_end_matches(',');
    let post = client().post(format!("{url}hooks?a=1"));
    let answer = post.header("webhook-id", "one").body("{\"a\": 1}").send().await.expect("an answer");
    assert_eq!(answer.status(), 503);
    let line = in_time("it prints", stdout.next_line()).await.expect("text").expect("a line");
    let line: Value = serde_json::from_str(&line).expect("JSON");
    assert_eq!((&line["path"], &line["status"]), (&Value::from("/hooks?a=1"), &Value::from(503)));
    assert_eq!((&line["headers"]["webhook-id"], &line["body"]["a"]), (&Value::from("one"), &Value::from(1)));
}
