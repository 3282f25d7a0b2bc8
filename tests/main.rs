//! End-to-end tests: the built binary as real processes, on the embedded broker and on a real RabbitMQ, against a real
//! receiver. One test binary, so that it links once; this is its table of contents.

mod harness;

mod admin_commands;
mod api_tls;
mod broker_outage;
mod broker_rights;
mod canaries;
mod cluster;
mod commands;
mod crash;
mod delivery_limit;
mod demo;
mod drain;
mod endpoint_state;
mod endpoint_test;
mod full_disk;
mod isolation;
mod large_events;
mod log_entries;
mod log_lines;
mod log_secrets;
mod loops;
mod made_anew;
mod memory;
mod metrics;
mod monitoring;
mod names;
mod parking;
mod prometheus;
mod propagation;
mod published;
mod quotas;
mod refusals;
mod reload;
mod request_limits;
mod rotation;
mod secrets;
mod server_tls;
mod signing;
mod ssrf;
mod startup;
mod supervision;
mod tenants;
mod topology;
mod usage;
