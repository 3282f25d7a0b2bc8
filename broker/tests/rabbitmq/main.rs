//! What is special about RabbitMQ: the facts of `docs/rabbitmq.md` that our code depends on, and the faults that a session
//! has to survive. What every broker promises is in `tests/contract`.
//!
//! A leader that dies and a node that loses its cluster need three nodes, and are not tested here.

mod delays;
mod faults;
mod fixture;
mod history;
mod limits;
mod misled;
#[path = "../contract/node.rs"]
mod node;
mod notices;

mod silence;
mod topology;
