//! Room for what takes long: so much at once for each tenant, and so much for all, so that a tenant that asks for a lot
//! leaves some to the others. Nobody queues: who finds no room is told to come again.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};

/// Who does how much, by tenant.
#[derive(Debug)]
pub(crate) struct Seats {
    /// For each tenant, and for all.
    most: (usize, usize),
    taken: Arc<Mutex<HashMap<String, usize>>>,
}

/// Something that is under way. Its drop makes room for another.
#[derive(Debug)]
pub(crate) struct Seat {
    taken: Arc<Mutex<HashMap<String, usize>>>,
    tenant: String,
}

impl Seats {
    /// So much at once for each tenant, and for all.
    pub(crate) fn new(most: (usize, usize)) -> Self {
        Self { most, taken: Arc::default() }
    }

    /// Room for one more; none where too many are under way.
    pub(crate) fn take(&self, tenant: &str) -> Option<Seat> {
        let (each, all) = self.most;
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if taken.values().sum::<usize>() >= all || taken.get(tenant).is_some_and(|own| *own >= each) {
            return None;
        }
        *taken.entry(tenant.to_owned()).or_default() += 1;
        Some(Seat { taken: self.taken.clone(), tenant: tenant.to_owned() })
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.taken.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(own) = taken.get_mut(&self.tenant) {
            *own -= 1;
            if *own == 0 {
                taken.remove(&self.tenant);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_leaves_room_for_the_others_and_what_has_ended_makes_room() {
        let room = Seats::new((4, 64));
        let mut seats: Vec<_> = (0..4).map(|_| room.take("acme").unwrap()).collect();
        assert!(room.take("acme").is_none());
        seats.extend((4..64).map(|nth| room.take(&nth.to_string()).unwrap()));
        assert!(room.take("zeta").is_none(), "too many of all");
        seats.remove(0);
        assert!(room.take("acme").is_some());
        drop(seats);
        assert!(room.taken.lock().unwrap().is_empty(), "nothing is remembered of who is done");
    }
}
