//! What every history promises. Each backend has a fixture, and passes the same suite.

mod fixture;
mod records;
mod sqlite;
mod suite;
