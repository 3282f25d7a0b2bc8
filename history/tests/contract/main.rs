//! What every history promises. Each backend has a fixture, and passes the same suite.

mod fixture;
mod postgres;
mod records;
mod sqlite;
mod suite;
