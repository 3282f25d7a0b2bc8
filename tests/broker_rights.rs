//! Least privilege on RabbitMQ: each role works with only the rights of the printed definitions, and names a missing one.

use std::{collections::BTreeSet, fs};

use broker::rabbitmq::{Rights, Role};
use carteiro::receiver::Answer;
use reqwest::Method;
use serde_json::json;

use crate::harness::{AmqpClient, AmqpMessage, KEY, Process, Rabbit, Receiver, Site, acme, eventually, ids};

const PASSWORD: &str = "a-password-of-the-tests";

/// A site on a broker that has the roles' users, and no exchanges and queues yet.
struct RestrictedSite {
    rabbit: Rabbit,
    site: Site,
}

impl RestrictedSite {
    async fn start(conf: &str) -> Self {
        let rabbit = Rabbit::start().await;
        let site = Site::on(rabbit.url(), conf).set("broker.declare", "false");
        let restricted = Self { rabbit, site };
        restricted.load(&[]).await;
        restricted
    }

    /// Imports the definitions that `carteiro topology definitions` prints.
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

    /// Removes the right to one exchange or queue from a role's pattern.
    fn without(&self, pattern: &str, name: &str) -> String {
        let quoted = format!(r"{}\.v1\.{}|", self.site.broker().prefix, name.replace('.', r"\."));
        assert!(pattern.contains(&quoted), "{pattern} has no {quoted}");
        pattern.replace(&quoted, "")
    }
}

/// Waits until a process names a missing right, on `/readyz` or in its log.
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
    from_intake_to_replay(&[Role::Router, Role::Deliverer]).await;
}

#[tokio::test]
async fn a_worker_works_with_just_its_own_rights_from_intake_to_replay() {
    from_intake_to_replay(&[Role::Worker]).await;
}

/// Publishes, delivers, parks and replays with a producer, control and these roles.
async fn from_intake_to_replay(between: &[Role]) {
    // A status that does not open a breaker, so that retries do not wait.
    let receiver = Receiver::start(|_| Answer::status(400)).await;
    let conf = acme(&receiver.url("/crm")).replace(&["1s"; 50].join(", "), "1s");
    let restricted = RestrictedSite::start(&conf).await;
    assert_eq!(restricted.apply().await, (Some(0), String::new()));
    let mut roles = vec![restricted.role(Role::Producer).await, restricted.role(Role::Control).await];
    for role in between {
        roles.push(restricted.role(*role).await);
    }
    for role in &roles {
        role.ready().await;
    }
    let [producer, control] = [&roles[0], &roles[1]];
    producer.api().publish("acme", ids("restricted", 20)).await;
    let garbage = AmqpMessage { key: "acme.-.-.ticket.created", id: Some("garbage"), tenant: None, body: b"no JSON" };
    AmqpClient::connect(&restricted.site).await.publish(&garbage).await;
    let count = async |path| {
        let listed = control.api().done(KEY, Method::GET, path, None).await;
        listed["items"].as_array().expect("items").len()
    };
    let dead = "/v1/tenants/acme/dead-letters";
    eventually("all are dead", || async { (count(dead).await == 20).then_some(()) }).await;
    eventually("what is no event is parked", || async { (count("/v1/parked").await == 1).then_some(()) }).await;
    let all = Some(json!({"filter": {}}));
    control.api().done(KEY, Method::POST, "/v1/tenants/acme/replays", all).await;
    receiver.until("they come again", |recorder| recorder.requests("/crm").len() >= 60).await;
    for role in roles {
        let lost: Vec<_> =
            role.log().into_iter().filter(|line| line.to_string().contains("refused for user")).collect();
        assert!(lost.is_empty(), "{lost:?}");
        assert_eq!(role.end().await, 0);
    }
}

#[tokio::test]
async fn a_role_without_a_right_says_which_one_it_misses() {
    let receiver = Receiver::accepting().await;
    let restricted = RestrictedSite::start(&acme(&receiver.url("/crm"))).await;
    restricted.apply().await;
    let prefix = restricted.site.broker().prefix.clone();

    let rights = restricted.rights(Role::Router);
    restricted.grant(&Rights { read: restricted.without(&rights.read, "ingest"), ..rights.clone() }).await;
    let router = restricted.role(Role::Router).await;
    misses(&router, "read", &format!("queue '{prefix}.v1.ingest'")).await;
    assert_eq!(router.end().await, 0);

    restricted.grant(&Rights { write: restricted.without(&rights.write, "deliver"), ..rights.clone() }).await;
    let (router, producer) = (restricted.role(Role::Router).await, restricted.role(Role::Producer).await);
    let accepted = producer.api().publish("acme", ids("held", 1)).await;
    misses(&router, "write", &format!("exchange '{prefix}.v1.deliver'")).await;

    restricted.grant(&rights).await;
    let deliverer = restricted.role(Role::Deliverer).await;
    receiver.until("it is delivered once the right is back", |recorder| recorder.has_all("/crm", &accepted)).await;

    let rights = restricted.rights(Role::Control);
    restricted.grant(&Rights { write: restricted.without(&rights.write, "canary"), ..rights }).await;
    let control = restricted.role(Role::Control).await;
    misses(&control, "write", &format!("exchange '{prefix}.v1.canary'")).await;

    let rights = restricted.rights(Role::Topology);
    restricted.grant(&Rights { configure: "^$".to_owned(), ..rights }).await;
    let (code, said) = restricted.apply().await;
    assert_eq!(code, Some(78));
    assert!(said.contains(&format!("no right to declare exchange {prefix}.v1.park: ")), "{said}");
    for role in [router, producer, deliverer, control] {
        assert_eq!(role.end().await, 0);
    }
}

#[tokio::test]
async fn verifying_with_too_few_rights_says_what_could_not_be_checked() {
    let restricted = RestrictedSite::start(&acme("http://127.0.0.1:9/")).await;
    assert_eq!(restricted.apply().await, (Some(0), String::new()));
    let verify = async |role| {
        let output = restricted.site.run(&["topology", "verify", "--broker", &restricted.url(role)]).await;
        (output.status.code(), String::from_utf8(output.stdout).expect("text"))
    };
    let all = "everything is as required\n".to_owned();
    assert_eq!(verify(Role::Topology).await, (Some(0), all));
    let prefix = &restricted.site.broker().prefix;
    for (role, unchecked) in [
        (Role::Producer, "the bindings could not be checked: no right to read: ".to_owned()),
        (Role::Producer, format!("queue {prefix}.v1.ingest could not be checked: no right to declare it: ")),
        (Role::Control, format!("{prefix}.v1.delay.30m 30m.# could not be checked: no right to write: ")),
    ] {
        let (code, found) = verify(role).await;
        assert!(found.contains(&unchecked) && !found.contains("is missing"), "{found}");
        assert_eq!((code, found.lines().last()), (Some(1), Some("everything else is as required")), "{found}");
    }
}

#[tokio::test]
async fn publishers_beyond_the_intakes_limit_are_refused_until_there_is_room() {
    let receiver = Receiver::accepting().await;
    let restricted = RestrictedSite::start(&acme(&receiver.url("/crm"))).await;
    restricted.load(&["--intake-bytes", "2000"]).await;
    restricted.apply().await;
    let producer = restricted.role(Role::Producer).await;
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
    let (_router, _deliverer) = (restricted.role(Role::Router).await, restricted.role(Role::Deliverer).await);
    receiver.until("what was accepted arrives", |recorder| recorder.has_all("/crm", &accepted)).await;
    eventually("there is room again", || async { (publish(1_000).await == 202).then_some(()) }).await;
}
