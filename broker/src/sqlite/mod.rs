//! The sqlite broker.
