//! End to end: the built binary as real processes, on the embedded broker and on a real RabbitMQ, against a real
//! receiver. One binary, so that it links once; this is the list of what it tests.

mod harness;

mod away;
mod crash;
mod demo;
mod drain;
mod reload;
