//! Isolation: one endpoint that is dead, slow or flooded must not delay another (design, 9.4).
//!
//! [`Gate`] says which delivery may be attempted now; behind it, [`Standing`](standing::Standing) decides for each
//! endpoint by its breaker, window, pace and bookings, all of them pure. [`Slots`] bounds the requests under way, in two
//! stages. No lock service: each process decides for itself, and tells the others what helps them.

mod bookings;
mod breaker;
mod door;
mod doors;
mod effect;
mod failing;
mod fairness;
mod gate;
mod pace;
mod pass;
mod peers;
mod slots;
mod standing;
mod suspicion;
mod tempo;
mod terms;
mod window;

pub(crate) use door::Door;
pub(crate) use effect::Ended;
pub(crate) use failing::Failed;
pub(crate) use gate::{Admission, Census, Gate, Knocking, Room};
pub(crate) use pass::Pass;
pub(crate) use peers::{BEAT, Peers};
pub(crate) use slots::{Limits, Slots};
pub(crate) use standing::Why;
pub(crate) use terms::Division;
