//! The real gate and slots in virtual time: the scenarios by which this design was chosen, and an outage from its
//! beginning to its end. What is simulated is the broker (lanes, a ladder that counts in seconds) and the receivers.

mod fleet;
mod outage;
mod scenarios;
mod town;
