//! Least privilege: with the printed definitions, each role works with just its own rights; without one of them it says
//! which it misses.

use std::{collections::BTreeSet, fs};

use broker::rabbitmq::{Rights, Role};
use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::json;

use crate::harness::{KEY, Letter, Outsider, Process, Rabbit, Receiver, Site, acme, eventually, ids};

const PASSWORD: &str = "a-password-of-the-tests";

/// A broker that knows the roles, and nothing else of a site.
struct Guarded {
    rabbit: Rabbit,
    site: Site,
}

impl Guarded {
    async fn start(conf: &str) -> Self {
        let rabbit = Rabbit::start().await;
        let site = Site::on(rabbit.url(), conf).set("broker.declare", "false");
        let guarded = Self { rabbit, site };
        guarded.load(&[]).await;
        guarded
    }

    /// Loads what is printed.
    async fn load(&self, arguments: &[&str]) {
        let mut command = self.site.command();
        for role in Role::ALL {
            command.env(format!("CARTEIRO_PASSWORD_{}", role.name().to_uppercase()), PASSWORD);
        }
        let printed =
            command.args(["topology", "definitions"]).args(arguments).output().await.expect("the binary runs");
        assert!(printed.status.success(), "{printed:?}");
        assert!(!String::from_utf8_lossy(&printed.stdout).contains(PASSWORD));
        let file = self.site.path("definitions.json");
        fs::write(&file, printed.stdout).expect("its own folder");
        self.rabbit.ctl(&["import_definitions", file.to_str().expect("text")]).await;
    }

    fn rights(&self, role: Role) -> Rights {
        Rights::of(role, self.site.broker())
    }

    fn url(&self, role: Role) -> String {
        let (_, host) = self.rabbit.url().split_once('@').expect("credentials");
        format!("amqp://{}:{PASSWORD}@{host}", self.rights(role).user)
    }

    async fn apply(&self) -> (Option<i32>, String) {
        let output = self.site.run(&["topology", "apply", "--broker", &self.url(Role::Topology)]).await;
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    }

    async fn role(&self, role: Role) -> Process {
        self.site.start_with(role.name(), &[("broker.url", &self.url(role))]).await
    }

    async fn grant(&self, rights: &Rights) {
        self.rabbit.ctl(&["set_permissions", &rights.user, &rights.configure, &rights.write, &rights.read]).await;
    }

    /// Takes the right to one exchange or queue from a pattern of a role's.
    fn without(&self, pattern: &str, name: &str) -> String {
        let quoted = format!(r"{}\.v1\.{}|", self.site.broker().prefix, name.replace('.', r"\."));
        assert!(pattern.contains(&quoted), "{pattern} has no {quoted}");
        pattern.replace(&quoted, "")
    }
}

/// Waits until a process says, on `/readyz` or in its log, that it misses a right.
async fn misses(process: &Process, right: &str, entity: &str) {
    eventually(entity, || async {
        let (status, missing) = process.readyz().await;
        let said = missing.to_string() + &process.log().iter().map(ToString::to_string).collect::<String>();
        let is_named = said.contains(&format!("no right to {right}: ")) && said.contains(entity);
        (is_named && (status == 503 || said.contains("broker.lost"))).then_some(())
    })
    .await;
}

#[tokio::test]
async fn the_committed_definitions_are_what_is_printed() {
    let printed = Site::embedded("tenants: []").run(&["topology", "definitions"]).await;
    let committed = include_str!("../deploy/rabbitmq/definitions.json");
    assert_eq!(String::from_utf8(printed.stdout).expect("text"), committed);
}

#[tokio::test]
async fn each_role_works_with_just_its_own_rights_from_intake_to_replay() {
    // A refusal that says nothing of the endpoint's health: no breaker makes the retries wait.
    let receiver = Receiver::start(|_| Answer::status(400)).await;
    let conf = acme(&receiver.url("/crm")).replace(&["1s"; 50].join(", "), "1s");
    let guarded = Guarded::start(&conf).await;
    assert_eq!(guarded.apply().await, (Some(0), String::new()));
    let producer = guarded.role(Role::Producer).await;
    let (router, deliverer) = (guarded.role(Role::Router).await, guarded.role(Role::Deliverer).await);
    let control = guarded.role(Role::Control).await;
    for role in [&producer, &router, &deliverer, &control] {
        role.ready().await;
    }
    producer.api().publish("acme", ids("guarded", 20)).await;
    let garbage = Letter { key: "acme.-.-.ticket.created", id: Some("garbage"), tenant: None, body: b"no JSON" };
    Outsider::on(&guarded.site).await.publish(&garbage).await;
    let count = async |path| {
        let listed = control.api().done(KEY, Method::GET, path, None).await;
        listed["items"].as_array().expect("items").len()
    };
    let dead = "/v1/tenants/acme/dead-letters";
    eventually("all are dead", || async { (count(dead).await == 20).then_some(()) }).await;
    eventually("what is no event is parked", || async { (count("/v1/parked").await == 1).then_some(()) }).await;
    let all = Some(json!({"filter": {}}));
    control.api().done(KEY, Method::POST, "/v1/tenants/acme/replays", all).await;
    receiver.until("they come again", |ledger| ledger.requests("/crm").len() >= 60).await;
    for role in [producer, router, deliverer, control] {
        let lost: Vec<_> =
            role.log().into_iter().filter(|line| line.to_string().contains("refused for user")).collect();
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(role.end().await, 0);
    }
}

#[tokio::test]
async fn a_role_without_a_right_says_which_one_it_misses() {
    let receiver = Receiver::accepting().await;
    let guarded = Guarded::start(&acme(&receiver.url("/crm"))).await;
    guarded.apply().await;
    let prefix = guarded.site.broker().prefix.clone();

    let rights = guarded.rights(Role::Router);
    guarded.grant(&Rights { read: guarded.without(&rights.read, "ingest"), ..rights.clone() }).await;
    let router = guarded.role(Role::Router).await;
    misses(&router, "read", &format!("queue '{prefix}.v1.ingest'")).await;
    assert_eq!(router.end().await, 0);

    guarded.grant(&Rights { write: guarded.without(&rights.write, "deliver"), ..rights.clone() }).await;
    let (router, producer) = (guarded.role(Role::Router).await, guarded.role(Role::Producer).await);
    let accepted = producer.api().publish("acme", ids("held", 1)).await;
    misses(&router, "write", &format!("exchange '{prefix}.v1.deliver'")).await;

    guarded.grant(&rights).await;
    let deliverer = guarded.role(Role::Deliverer).await;
    receiver.until("it is delivered once the right is back", |ledger| ledger.has_all("/crm", &accepted)).await;

    let rights = guarded.rights(Role::Control);
    guarded.grant(&Rights { write: guarded.without(&rights.write, "canary"), ..rights }).await;
    let control = guarded.role(Role::Control).await;
    misses(&control, "write", &format!("exchange '{prefix}.v1.canary'")).await;

    let rights = guarded.rights(Role::Topology);
    guarded.grant(&Rights { configure: "^$".to_owned(), ..rights }).await;
    let (code, said) = guarded.apply().await;
    assert_eq!(code, Some(78));
    assert!(said.contains(&format!("no right to declare exchange {prefix}.v1.park: ")), "{said}");
    for role in [router, producer, deliverer, control] {
        assert_eq!(role.end().await, 0);
    }
}

#[tokio::test]
async fn beyond_the_intakes_limit_publishers_are_refused_until_there_is_room() {
    let receiver = Receiver::accepting().await;
    let guarded = Guarded::start(&acme(&receiver.url("/crm"))).await;
    guarded.load(&["--intake-bytes", "2000"]).await;
    guarded.apply().await;
    let producer = guarded.role(Role::Producer).await;
    producer.ready().await;
    let publish = async |id: usize| {
        let event = json!({"id": format!("event-{id}"), "type": "ticket.created"});
        producer.api().ask(KEY, Method::POST, "/v1/tenants/acme/events", Some(event)).await.0
    };
    let mut accepted = BTreeSet::new();
    while publish(accepted.len()).await == 202 {
        accepted.insert(format!("event-{}", accepted.len()));
        assert!(accepted.len() < 1_000, "there is no limit");
    }
    assert_eq!(publish(accepted.len()).await, 503);
    let (_router, _deliverer) = (guarded.role(Role::Router).await, guarded.role(Role::Deliverer).await);
    receiver.until("what was accepted arrives", |ledger| ledger.has_all("/crm", &accepted)).await;
    eventually("there is room again", || async { (publish(1_000).await == 202).then_some(()) }).await;
}
