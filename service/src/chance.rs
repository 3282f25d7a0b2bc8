//! Real chance. One of the two files that may ask the world; everything else takes a [`Chance`]. Not for secrets.

use std::sync::Arc;

/// A number in [0, 1), a new one at each call, evenly spread.
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// A generator for each thread, seeded by the system.
pub fn system() -> Chance {
    #[expect(clippy::disallowed_methods, reason = "the one place where chance enters")]
    Arc::new(fastrand::f64)
}

#[cfg(test)]
mod tests {
    #[test]
    fn draws_are_in_the_unit_interval_and_differ() {
        let chance = super::system();
        let draws: Vec<f64> = (0..1_000).map(|_| chance()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        assert!(draws.iter().any(|draw| *draw < 0.5) && draws.iter().any(|draw| *draw >= 0.5));
    }
}
