//! The memory broker.
