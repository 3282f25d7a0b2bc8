//! The harness of the end-to-end tests: sites, their processes, receivers that record what arrives, and private servers. It
//! uses the product only from outside: command line, HTTP, YAML, signals and log lines.

// Each test uses its own part of it.
#![allow(dead_code)]

mod amqp_client;
mod api;
mod generated_client;
mod metrics_page;
mod name_server;
#[path = "../../broker/tests/contract/node.rs"]
pub(crate) mod node;
mod postgres;
mod process;
mod prometheus;
mod rabbit;
mod receiver;
mod script;
mod site;
mod verifier;
mod wait;

pub(crate) use amqp_client::{AmqpClient, AmqpMessage, CapturedMessage};
pub(crate) use api::{Api, KEY, UNANSWERED, client, ids};
pub(crate) use generated_client::GeneratedClient;
pub(crate) use metrics_page::{MetricsPage, lint};
pub(crate) use name_server::{NameServer, Zone};
pub(crate) use postgres::Postgres;
pub(crate) use process::Process;
pub(crate) use prometheus::{Prometheus, tools as prometheus_tools};
pub(crate) use rabbit::{Rabbit, RabbitCluster};
pub(crate) use receiver::{DeliveryCounts, Receiver, Recorder};
pub(crate) use script::{in_its_own_place, installed, script, succeeds};
pub(crate) use site::{Site, acme};
pub(crate) use verifier::Verifier;
pub(crate) use wait::{eventually, in_time, report};
