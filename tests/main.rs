//! End to end: the built binary as real processes, on the embedded broker and on a real RabbitMQ, against a real
//! receiver. One binary, so that it links once; this is the list of what it tests.

mod harness;

mod administration;
mod away;
mod bounds;
mod canaries;
mod cluster;
mod commands;
mod crash;
mod demo;
mod door;
mod drain;
mod encrypted;
mod following;
mod isolation;
mod lines;
mod metrics;
mod parking;
mod prometheus;
mod propagation;
mod published;
mod refusals;
mod reload;
mod rights;
mod rotation;
mod secrets;
mod signing;
mod ssrf;
mod startup;
mod tenants;
mod topology;
mod trials;
mod usage;
mod watching;
