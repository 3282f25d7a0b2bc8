//! The contract of [`store::Store`]: one suite, every store that is written to; of `file:` the reading part. This file is
//! the list of stores; what is promised is in `suite`, what only one store can do is next to it.

mod fixture;
mod story;
mod suite;

mod file;
mod memory;
mod postgres;
mod sqlite;
