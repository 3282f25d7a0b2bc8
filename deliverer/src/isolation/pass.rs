//! A place inside: held while a request is under way, and given up even when that panics or is let go.

use std::sync::Arc;

use super::{door::Door, effect::Ended, gate::Gate};

/// A place inside.
#[derive(Debug)]
pub(crate) struct Pass {
    /// None once it is given up.
    gate: Option<Arc<Gate>>,
    door: Arc<Door>,
    /// Not before then, unix ms.
    pub(super) at: u64,
    is_probe: bool,
}

impl Pass {
    /// A place that was just taken.
    pub(super) fn new(gate: &Arc<Gate>, door: &Arc<Door>, at: u64, is_probe: bool) -> Self {
        gate.crowd().enter(&door.tenant);
        Self { gate: Some(gate.clone()), door: door.clone(), at, is_probe }
    }

    /// The door it is behind.
    pub(crate) fn door(&self) -> &Arc<Door> {
        &self.door
    }

    /// The request is over.
    pub(crate) fn ended(mut self, ended: Ended, now: u64, chance: f64) {
        if let Some(gate) = self.gate.take() {
            gate.crowd().leave(&self.door.tenant);
            gate.ended(&self.door, Ended { was_probe: self.is_probe, ..ended }, now, chance);
        }
    }

    /// Nobody took it.
    pub(super) fn void(mut self) {
        if let Some(gate) = self.gate.take() {
            gate.crowd().leave(&self.door.tenant);
        }
    }
}

impl Drop for Pass {
    fn drop(&mut self) {
        if let Some(gate) = self.gate.take() {
            gate.crowd().leave(&self.door.tenant);
            gate.abandoned(&self.door, self.is_probe);
        }
    }
}
