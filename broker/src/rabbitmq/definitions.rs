//! What an operator loads into a RabbitMQ before anything connects to it: a user for each role, the rights matrix, and a
//! limit on the intake, in the form of `rabbitmqctl import_definitions` and `load_definitions`.
//!
//! It deliberately names no queue and no exchange: a quorum queue takes its members from the nodes that are there when it
//! is declared, and a definitions file is loaded by the first node of a cluster, alone. `topology apply` declares them.

use std::collections::BTreeMap;

use base64::{Engine as _, prelude::BASE64_STANDARD};
use serde::Serialize;
use sha2::{Digest as _, Sha256};

use super::{
    address::{Address, InvalidUrl},
    names::Names,
    rights::{Rights, Role, quoted},
};
use crate::{BrokerConfig, Queue};

/// A definitions file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Definitions {
    vhosts: Vec<Vhost>,
    users: Vec<User>,
    permissions: Vec<Permission>,
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
struct Permission {
    vhost: String,
    #[serde(flatten)]
    rights: Rights,
}

/// What RabbitMQ keeps operator policies as.
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

/// A password as RabbitMQ keeps it, which does not tell the password.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasswordHash(String);

impl PasswordHash {
    /// Of a password, with salt that should be fresh.
    pub fn of(password: &str, salt: [u8; 4]) -> Self {
        let hash = Sha256::new().chain_update(salt).chain_update(password).finalize();
        Self(BASE64_STANDARD.encode([&salt[..], &hash].concat()))
    }

    /// Of no password at all: nobody can log in with one.
    pub fn none() -> Self {
        Self(String::new())
    }
}

impl Definitions {
    /// For the vhost and under the names of a broker section. `intake_bytes` bounds what waits to be routed: beyond it
    /// publishers are refused, and try again. `password` gives each role's.
    ///
    /// # Errors
    /// A `broker.url` that is none.
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
            permissions: rights.map(|(_, rights)| Permission { vhost: vhost.clone(), rights }).into(),
            parameters: vec![intake(config, vhost.clone(), intake_bytes)],
            vhosts: vec![Vhost { name: vhost }],
        })
    }
}

fn vhost(url: &str) -> Result<String, InvalidUrl> {
    Ok(Address::parse(url)?.host(0).uri.vhost.clone())
}

/// On `ingest` only: a limit on what others dead-letter into would stop them (V6). The queue's own arguments say that a
/// publish beyond it is refused, not that the oldest is dropped.
fn intake(config: &BrokerConfig, vhost: String, bytes: u64) -> Parameter {
    let queue = Names::new(config).inlet(Queue::Ingest);
    Parameter {
        vhost,
        component: "operator_policy",
        name: format!("{}-intake", config.prefix),
        value: Policy {
            pattern: format!("^{}$", quoted(&queue)),
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
