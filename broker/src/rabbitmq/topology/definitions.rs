//! The definitions file that an operator loads into a RabbitMQ before anything connects to it (`rabbitmqctl
//! import_definitions`, `load_definitions`): a user for each role, their rights, and a limit on the intake.
//!
//! It deliberately names no queue and no exchange. A quorum queue takes its members from the nodes that are there when it
//! is declared, and a definitions file is loaded by the first node of a cluster, alone
//! (docs/rabbitmq.md#members-of-a-quorum-queue). `topology apply` declares them.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    plan::Names,
    rights::{Rights, Role, quoted},
};
use crate::{
    BrokerConfig, Queue,
    rabbitmq::connect::{BrokerHosts, InvalidUrl},
};

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definitions {
    vhosts: Vec<Vhost>,
    users: Vec<User>,
    permissions: Vec<VhostPermission>,
    parameters: Vec<Parameter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Vhost {
    name: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct User {
    name: String,
    password_hash: String,
    hashing_algorithm: &'static str,
    tags: [String; 0],
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct VhostPermission {
    vhost: String,
    #[serde(flatten)]
    rights: Rights,
}

/// A parameter: RabbitMQ keeps operator policies as such.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
struct Parameter {
    vhost: String,
    component: &'static str,
    name: String,
    value: Policy,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
struct Policy {
    pattern: String,
    apply_to: &'static str,
    priority: u8,
    definition: BTreeMap<&'static str, u64>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Hashes a password with a salt, which should be fresh.
    pub fn of(password: &str, salt: [u8; 4]) -> Self {
        let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
        Self(BASE64_STANDARD.encode([&salt[..], &hash].concat()))
    }

    /// The hash of no password: nobody can log in with a password.
    pub fn none() -> Self {
        Self(String::new())
    }
}

impl Definitions {
    /// The definitions for the vhost and the names of a broker section. `intake_bytes` bounds what waits to be routed,
    /// and as much again what is put aside: beyond it publishers are refused, and try again. `password` returns the hash
    /// for a role.
    pub fn new(
        config: &BrokerConfig,
        intake_bytes: u64,
        mut password: impl FnMut(Role) -> PasswordHash,
    ) -> Result<Self, InvalidUrl> {
        let vhost = if config.is_embedded() { "/".to_owned() } else { vhost(&config.url)? };
        let rights = Role::ALL.map(|role| (role, Rights::of(role, config)));
        let users = rights.iter().map(|(role, rights)| User {
            name: rights.user.clone(),
            password_hash: password(*role).0,
            hashing_algorithm: "rabbit_password_hashing_sha256",
            tags: [],
        });
        Ok(Self {
            users: users.collect(),
            permissions: rights.map(|(_, rights)| VhostPermission { vhost: vhost.clone(), rights }).into(),
            parameters: vec![intake(config, vhost.clone(), intake_bytes)],
            vhosts: vec![Vhost { name: vhost }],
        })
    }
}

fn vhost(url: &str) -> Result<String, InvalidUrl> {
    Ok(BrokerHosts::parse(url)?.host(0).uri.vhost.clone())
}

/// The limit on each of the queues of events, the only ones that nothing is dead-lettered into: elsewhere a limit would
/// stop the queues that dead-letter there (docs/rabbitmq.md#a-length-limit-on-a-dead-letter-target). The queues' own
/// arguments say that a publish beyond the limit is refused, instead of the oldest message being dropped.
fn intake(config: &BrokerConfig, vhost: String, bytes: u64) -> Parameter {
    let queues = [Queue::Ingest, Queue::IngestSlow].map(|queue| quoted(&Names::new(config).queue(queue)));
    Parameter {
        vhost,
        component: "operator_policy",
        name: format!("{}-intake", config.prefix),
        value: Policy {
            pattern: format!("^({})$", queues.join("|")),
            apply_to: "queues",
            priority: 0,
            definition: BTreeMap::from([("max-length-bytes", bytes)]),
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_is_hashed_as_rabbitmqs_own_documentation_shows() {
        let hash = PasswordHash::of("test12", [0x90, 0x8D, 0xC6, 0x0A]);
        assert_eq!(hash.0, "kI3GCqW5JLMJa4iX1lo7X4D6XbYqlLgxIs30+P6tENUV2POR");
    }
}
