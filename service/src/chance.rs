//! The source of randomness, and the only file that asks the system for it; everything else takes a [`Chance`]. Only
//! [`token`] and [`secrets`] are fit for secrets.

use std::sync::Arc;

/// Yields a number in [0, 1) at each call, evenly distributed.
pub type Chance = Arc<dyn Fn() -> f64 + Send + Sync>;

/// Each thread has its own generator, seeded by the system. Unfit for secrets.
pub fn system() -> Chance {
    #[expect(clippy::disallowed_methods, reason = "the one place where chance enters")]
    Arc::new(fastrand::f64)
}

pub fn rng() -> fastrand::Rng {
    fastrand::Rng::new()
}

/// A new secret: 256 bits from the system's generator, as 64 hex digits. Fails when the system has no randomness.
pub fn token() -> std::io::Result<String> {
    Ok(schemas::hex(&random::<32>()?))
}

/// Yields 256 bits for a secret at each call.
pub type Secrets = Arc<dyn Fn() -> std::io::Result<[u8; 32]> + Send + Sync>;

pub fn secrets() -> Secrets {
    Arc::new(random::<32>)
}

/// Unpredictable bytes from the system's generator. Fails when the system has no randomness.
pub fn random<const N: usize>() -> std::io::Result<[u8; N]> {
    let mut bytes = [0; N];
    getrandom::fill(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// `N` random bytes for ids. Each call of `chance` yields five bytes: 40 of its 53 random bits.
pub fn bytes<const N: usize>(chance: &Chance) -> [u8; N] {
    let mut bytes = [0; N];
    for five in bytes.chunks_mut(5) {
        let drawn = (chance() * (1_u64 << 40) as f64) as u64;
        five.copy_from_slice(&drawn.to_be_bytes()[3..3 + five.len()]);
    }
    bytes
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    #[test]
    fn a_draw_makes_five_bytes() {
        let chance: super::Chance = Arc::new(|| 0.5);
        assert_eq!(super::bytes::<10>(&chance), [0x80, 0, 0, 0, 0, 0x80, 0, 0, 0, 0]);
        assert_eq!(super::bytes::<3>(&chance), [0x80, 0, 0]);
    }

    #[test]
    fn draws_are_in_the_unit_interval_and_differ() {
        let chance = super::system();
        let draws: Vec<f64> = (0..1_000).map(|_| chance()).collect();
        assert!(draws.iter().all(|draw| (0.0..1.0).contains(draw)));
        assert!(super::token().unwrap() != super::token().unwrap());
        assert!(draws.iter().any(|draw| *draw < 0.5) && draws.iter().any(|draw| *draw >= 0.5));
    }
}
