//! The contract: events, filters, deliveries, vendor dialects; serde only, no I/O.
