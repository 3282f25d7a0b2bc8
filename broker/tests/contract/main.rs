//! The contract of [`broker::Broker`]: one suite, every backend. A second implementation exists only if it passes the
//! same tests. This file is the list of backends; what is promised is in `suite`.

mod fixture;
mod story;
mod suite;

mod memory;
mod node;
mod rabbitmq;
mod sqlite;
