//! A bounded memory of what was used lately.

use std::{collections::HashMap, hash::Hash, mem};

/// Values by key, in two generations. What is used enters the young one. When that is full, it replaces the old one: this
/// bounds the memory without a list of last uses and without looking at all keys. The last `capacity` keys that were used
/// are known at least, and twice as many at most.
#[derive(Debug)]
pub struct RecentlyUsed<K, V> {
    capacity: usize,
    young: HashMap<K, V>,
    old: HashMap<K, V>,
}

impl<K: Eq + Hash, V: Default> RecentlyUsed<K, V> {
    pub fn new(capacity: usize) -> Self {
        Self { capacity, young: HashMap::new(), old: HashMap::new() }
    }

    /// The value of a key, which is used by that. One that is not known has a default value.
    pub fn of(&mut self, key: K) -> &mut V {
        if self.young.contains_key(&key) {
            return self.young.entry(key).or_default();
        }
        if self.young.len() >= self.capacity {
            self.old = mem::take(&mut self.young);
        }
        let value = self.old.remove(&key).unwrap_or_default();
        self.young.entry(key).or_insert(value)
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.young.len() + self.old.len()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_of_keys_that_are_remembered_is_bounded_and_one_in_use_is_among_them() {
        const CAPACITY: usize = 8_192;
        let mut keys = RecentlyUsed::<String, usize>::new(CAPACITY);
        *keys.of("used".to_owned()) = 7;
        for nth in 0..5 * CAPACITY {
            keys.of(nth.to_string());
            if nth % 1_000 == 0 {
                assert_eq!(*keys.of("used".to_owned()), 7);
            }
        }
        assert!(keys.len() <= 2 * CAPACITY);
    }
}
