//! What each role may do on the broker, as data: the least that it needs. A role configures only its own queue for
//! notices; everything durable is declared by a user of its own, `topology`. Nothing is granted here.

use serde::Serialize;

use super::plan::Names;
use crate::BrokerConfig;

/// Matches the names that the server gives to exclusive queues.
const OWN_QUEUES: &str = r"amq\.gen-.*";
/// The exchanges that every role publishes to: for its liveness probe, and for notices.
const ALL_WRITE: [&str; 2] = ["canary", "control"];
/// The exchange that every role binds its own queue to, which takes the right to read.
const ALL_READ: [&str; 1] = ["control"];
/// Stands for the public exchange, whose name is configured and has no prefix.
const EVENTS: &str = "events";

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    Producer,
    Router,
    Deliverer,
    /// Router and deliverer in one process.
    Worker,
    Control,
    /// Not a process but the command `carteiro topology`: the only user that declares and deletes what is durable.
    Topology,
}

impl Role {
    pub const ALL: [Self; 6] =
        [Self::Producer, Self::Router, Self::Deliverer, Self::Worker, Self::Control, Self::Topology];

    /// The name, as in `carteiro <role>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Router => "router",
            Self::Deliverer => "deliverer",
            Self::Worker => "worker",
            Self::Control => "control",
            Self::Topology => "topology",
        }
    }

    /// The exchanges that the role publishes to, and the queues that it consumes; `None` for all of them.
    fn needs(self) -> Option<(&'static [&'static str], &'static [&'static str])> {
        match self {
            Self::Producer => Some((&[EVENTS], &[])),
            // It puts events aside, parks what it cannot read, and writes a dead letter for a delivery that can never be
            // made.
            Self::Router => Some((&["ingest.slow", "deliver", "dead", "park", "history"], &["ingest", "ingest.slow"])),
            // It publishes the events about how deliveries end.
            Self::Deliverer => {
                Some((&[EVENTS, "deliver", "delay", "dead", "park", "history"], &["deliver.fast", "deliver.slow"]))
            }
            Self::Worker => Some((
                &[EVENTS, "ingest.slow", "deliver", "delay", "dead", "park", "history"],
                &["ingest", "ingest.slow", "deliver.fast", "deliver.slow"],
            )),
            // It requeues and replays; and reading a log appends a marker, to see where the log ends.
            Self::Control => Some((&[EVENTS, "deliver", "dead", "park", "history"], &["dead", "park", "history"])),
            Self::Topology => None,
        }
    }
}

/// The rights of one user, as the patterns that RabbitMQ matches names with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// Name of the user: the prefix and the role.
    pub user: String,
    /// What the user may declare and delete.
    pub configure: String,
    /// What the user may publish to (exchanges) and bind (queues).
    pub write: String,
    /// What the user may consume (queues) and bind to (exchanges).
    pub read: String,
}

impl Rights {
    pub fn of(role: Role, config: &BrokerConfig) -> Self {
        let names = Names::new(config);
        let user = format!("{}-{}", config.prefix, role.name());
        let Some((writes, reads)) = role.needs() else {
            let all = pattern([quoted(&names.events), format!("{}.*", quoted(&names.of("")))]);
            return Self { user, configure: all.clone(), write: all.clone(), read: all };
        };
        let spelt = |name: &&str| quoted(&if *name == EVENTS { names.events.clone() } else { names.of(name) });
        let with_own =
            |entities: &[&[&str]]| pattern(entities.concat().iter().map(spelt).chain([OWN_QUEUES.to_owned()]));
        Self {
            user,
            configure: pattern([OWN_QUEUES.to_owned()]),
            write: with_own(&[writes, &ALL_WRITE]),
            read: with_own(&[reads, &ALL_READ]),
        }
    }
}

/// A pattern that matches these names, and nothing that only contains one of them.
fn pattern(names: impl IntoIterator<Item = String>) -> String {
    format!("^({})$", names.into_iter().collect::<Vec<_>>().join("|"))
}

pub(super) fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 4);
    for letter in text.chars() {
        if !(letter.is_alphanumeric() || matches!(letter, '_' | '-')) {
            quoted.push('\\');
        }
        quoted.push(letter);
    }
    quoted
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rabbitmq::Topology;

    fn config() -> BrokerConfig {
        BrokerConfig {
            url: "amqp://broker".to_owned(),
            prefix: "carteiro".to_owned(),
            exchange: "ticketing.events".to_owned(),
            declare: false,
            max_bytes: 0,
            dead_letters_bytes: 10_000_000_000,
            parked_bytes: 5_000_000_000,
        }
    }

    #[test]
    fn a_producer_writes_events_and_reads_only_notices() {
        let rights = Rights::of(Role::Producer, &config());
        assert_eq!(rights.user, "carteiro-producer");
        assert_eq!(rights.configure, r"^(amq\.gen-.*)$");
        assert_eq!(rights.write, r"^(ticketing\.events|carteiro\.v1\.canary|carteiro\.v1\.control|amq\.gen-.*)$");
        assert_eq!(rights.read, r"^(carteiro\.v1\.control|amq\.gen-.*)$");
    }

    #[test]
    fn whatever_a_role_is_granted_by_name_is_in_the_plan() {
        let (config, names) = (config(), Names::new(&config()));
        let Topology { exchanges, queues, .. } = Topology::plan(&config);
        let planned: Vec<_> =
            exchanges.into_iter().map(|it| it.name).chain(queues.into_iter().map(|it| it.name)).collect();
        for (writes, reads) in Role::ALL.into_iter().filter_map(Role::needs) {
            for name in [writes, reads, &ALL_WRITE, &ALL_READ].concat() {
                let spelt = if name == EVENTS { names.events.clone() } else { names.of(name) };
                assert!(planned.contains(&spelt), "{spelt}");
            }
        }
    }

    #[test]
    fn a_worker_may_what_a_router_and_a_deliverer_may() {
        let [worker, router, deliverer] = [Role::Worker, Role::Router, Role::Deliverer].map(|role| {
            let (writes, reads) = role.needs().expect("a list");
            [writes, reads].map(|names| names.iter().copied().collect::<BTreeSet<_>>())
        });
        for (worker, (router, deliverer)) in worker.into_iter().zip(router.into_iter().zip(deliverer)) {
            assert_eq!(worker, &router | &deliverer);
        }
    }

    #[test]
    fn only_topology_may_declare_what_is_durable() {
        for role in Role::ALL {
            let configures = Rights::of(role, &config()).configure.contains("carteiro");
            assert_eq!(configures, role == Role::Topology, "{role:?}");
        }
    }
}
