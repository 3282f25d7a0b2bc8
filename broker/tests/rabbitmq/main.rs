//! What is special about RabbitMQ: the traps that its documentation does not warn of (their numbers, V1 to V16, are
//! those of the broker notes), and the faults it is to survive. What every broker promises is in `tests/contract`.
//!
//! V13 and V14 (a leader that dies, a node that loses its cluster) need three nodes and are not tested here.

mod delays;
mod faults;
mod limits;
mod misled;
#[path = "../contract/node.rs"]
mod node;
mod notices;
mod road;
mod silence;
mod topology;
