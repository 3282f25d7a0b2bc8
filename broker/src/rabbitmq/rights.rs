//! What each role may do on the broker, as data: the least it needs. Roles configure nothing but the queue of their own
//! that notices come by; what is durable is declared by a user of its own. It grants nothing itself.

use serde::Serialize;

use super::names::Names;
use crate::BrokerConfig;

/// The server's own names for exclusive queues.
const OWN: &str = r"amq\.gen-.*";
/// What every role writes to: its liveness publish, and what it has to say to the others.
const SAID: [&str; 2] = ["canary", "control"];
/// What every role binds its own queue to, for which the broker asks the right to read.
const HEARD: [&str; 1] = ["control"];
/// Stands for the public exchange, whose name has no prefix.
const EVENTS: &str = "events";

/// Who connects to a broker: each is a user of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// Takes events in.
    Producer,
    /// Fans them out.
    Router,
    /// Posts them.
    Deliverer,
    /// Reads and replays what was not delivered.
    Control,
    /// Not a process but `carteiro topology`: the only one who declares and deletes what is durable.
    Topology,
}

impl Role {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Producer, Self::Router, Self::Deliverer, Self::Control, Self::Topology];

    /// As in `carteiro <role>`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Producer => "producer",
            Self::Router => "router",
            Self::Deliverer => "deliverer",
            Self::Control => "control",
            Self::Topology => "topology",
        }
    }

    /// Exchanges that it publishes to, and queues that it takes from; `None` for all.
    fn needs(self) -> Option<(&'static [&'static str], &'static [&'static str])> {
        match self {
            Self::Producer => Some((&[EVENTS], &[])),
            // What it cannot read is parked; a delivery that can never be made is dead at once.
            Self::Router => Some((&["deliver", "dead", "park"], &["ingest"])),
            Self::Deliverer => Some((&["deliver", "delay", "dead", "park"], &["deliver.fast", "deliver.slow"])),
            // It requeues and replays, and whoever reads a log appends a mark to see where it ends.
            Self::Control => Some((&[EVENTS, "deliver", "dead", "park"], &["dead", "park"])),
            Self::Topology => None,
        }
    }
}

/// What a user may do, as the patterns that RabbitMQ matches names with.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Rights {
    /// The user's name: the prefix and the role.
    pub user: String,
    /// Declare and delete.
    pub configure: String,
    /// Publish to an exchange, bind a queue.
    pub write: String,
    /// Consume from a queue, bind to an exchange.
    pub read: String,
}

impl Rights {
    /// What a role needs under the names of a broker section.
    pub fn of(role: Role, config: &BrokerConfig) -> Self {
        let names = Names::new(config);
        let user = format!("{}-{}", config.prefix, role.name());
        let Some((writes, reads)) = role.needs() else {
            let all = pattern([quoted(&names.events), format!("{}.*", quoted(&names.of("")))]);
            return Self { user, configure: all.clone(), write: all.clone(), read: all };
        };
        let spelt = |name: &&str| quoted(&if *name == EVENTS { names.events.clone() } else { names.of(name) });
        let with_own = |entities: &[&[&str]]| pattern(entities.concat().iter().map(spelt).chain([OWN.to_owned()]));
        Self {
            user,
            configure: pattern([OWN.to_owned()]),
            write: with_own(&[writes, &SAID]),
            read: with_own(&[reads, &HEARD]),
        }
    }
}

/// Matches these names, and nothing that only holds one of them.
fn pattern(names: impl IntoIterator<Item = String>) -> String {
    format!("^({})$", names.into_iter().collect::<Vec<_>>().join("|"))
}

/// Matches this very text.
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
    use super::*;
    use crate::rabbitmq::Topology;

    fn config() -> BrokerConfig {
        BrokerConfig {
            url: "amqp://broker".to_owned(),
            prefix: "carteiro".to_owned(),
            exchange: "ticketing.events".to_owned(),
            declare: false,
        }
    }

    #[test]
    fn a_producer_writes_events_and_reads_nothing_of_anybodys() {
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
            for name in [writes, reads, &SAID, &HEARD].concat() {
                let spelt = if name == EVENTS { names.events.clone() } else { names.of(name) };
                assert!(planned.contains(&spelt), "{spelt}");
            }
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
