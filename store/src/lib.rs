//! The memory: tenants, endpoints, subscriptions, sources and keys, as an immutable snapshot.
