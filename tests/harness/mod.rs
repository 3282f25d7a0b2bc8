//! What the stories are told with: sites, their processes, receivers with a ledger, and private RabbitMQ nodes. It knows
//! the product from outside only: command line, HTTP, YAML, signals and log lines.

// Each story uses its own part of it.
#![allow(dead_code)]

mod api;
mod exposed;
mod figures;
mod ledger;
#[path = "../../broker/tests/contract/node.rs"]
pub(crate) mod node;
mod outsider;
mod postgres;
mod process;
mod prometheus;
mod rabbit;
mod receiver;
mod site;
mod verifier;
mod wait;

pub(crate) use api::{Api, KEY, UNANSWERED, client, ids};
pub(crate) use exposed::{Exposed, lint};
pub(crate) use figures::report;
pub(crate) use ledger::{Ledger, Outbox};
pub(crate) use outsider::{Letter, Outsider, Tapped};
pub(crate) use postgres::Postgres;
pub(crate) use process::Process;
pub(crate) use prometheus::{Prometheus, tools as prometheus_tools};
pub(crate) use rabbit::{Rabbit, RabbitCluster};
pub(crate) use receiver::Receiver;
pub(crate) use site::{Site, acme};
pub(crate) use verifier::Verifier;
pub(crate) use wait::{eventually, in_time};
