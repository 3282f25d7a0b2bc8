//! The real limiter and slots in virtual time: the scenarios by which this design was chosen, and an outage from its
//! beginning to its end. The broker (lanes, and a ladder that counts in seconds) and the receivers are simulated.

mod comeback;
mod fleet;
mod outage;
mod receivers;
mod scenarios;
mod tenants;
