//! How long attempts took, as counts in buckets, from which a median can be read.

/// Buckets: each is up to a fifth wider than the one before, from 1 ms to beyond the longest timeout (2 minutes).
pub(crate) const BUCKETS: usize = 66;
const RATIO: f64 = 1.2;

/// Counts of durations. Sums of several are made by adding them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Durations(Vec<u64>);

impl Durations {
    pub(crate) fn add(&mut self, duration_ms: u64) {
        self.add_count(bucket(duration_ms), 1);
    }

    pub(crate) fn merge(&mut self, other: &Self) {
        for (bucket, count) in other.0.iter().enumerate() {
            self.add_count(bucket, *count);
        }
    }

    /// The duration, in milliseconds, that this part (0 to 1) of the attempts did not exceed, to within a fifth.
    pub(crate) fn quantile(&self, part: f64) -> Option<u64> {
        let total: u64 = self.0.iter().sum();
        let rank = ((total as f64) * part).ceil().max(1.0) as u64;
        let mut seen = 0;
        let bucket = self.0.iter().position(|count| {
            seen += count;
            seen >= rank
        });
        bucket.filter(|_| total > 0).map(upper_ms)
    }

    /// The counts as variable-length integers, without the empty buckets at the end.
    pub(crate) fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        for count in &self.0 {
            let mut rest = *count;
            while rest >= 0x80 {
                bytes.push(rest as u8 | 0x80);
                rest >>= 7;
            }
            bytes.push(rest as u8);
        }
        bytes
    }

    /// Bytes that are none are no counts.
    pub(crate) fn from_bytes(bytes: &[u8]) -> Self {
        let (mut counts, mut count, mut shift) = (Vec::new(), 0_u64, 0_u32);
        for byte in bytes {
            count |= u64::from(byte & 0x7f).checked_shl(shift).unwrap_or_default();
            shift += 7;
            if byte & 0x80 == 0 {
                counts.push(count);
                (count, shift) = (0, 0);
            }
        }
        counts.truncate(BUCKETS);
        Self(counts)
    }

    fn add_count(&mut self, bucket: usize, count: u64) {
        if self.0.len() <= bucket {
            self.0.resize(bucket + 1, 0);
        }
        self.0[bucket] = self.0[bucket].saturating_add(count);
    }
}

fn bucket(duration_ms: u64) -> usize {
    let at = (duration_ms.max(1) as f64).ln() / RATIO.ln();
    (at.ceil() as usize).min(BUCKETS - 1)
}

fn upper_ms(bucket: usize) -> u64 {
    RATIO.powi(i32::try_from(bucket).unwrap_or(i32::MAX)).round() as u64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_quantile_is_within_a_fifth() {
        let mut durations = Durations::default();
        (1..=1_000).for_each(|ms| durations.add(ms));
        for (part, exact) in [(0.5, 500.0), (0.95, 950.0)] {
            let found = durations.quantile(part).unwrap() as f64;
            assert!((exact..=exact * 1.2).contains(&found), "{part}: {found}");
        }
        assert_eq!(Durations::default().quantile(0.5), None);
    }

    proptest! {
        #[test]
        fn counts_come_back_and_add_up(
            some in proptest::collection::vec(0_u64..200_000, 0..50),
            more in proptest::collection::vec(0_u64..200_000, 0..50),
        ) {
            let of = |list: &[u64]| list.iter().fold(Durations::default(), |mut sum, ms| { sum.add(*ms); sum });
            let (mut sum, all) = (of(&some), of(&[some.clone(), more.clone()].concat()));
            sum.merge(&Durations::from_bytes(&of(&more).to_bytes()));
            prop_assert_eq!(sum.quantile(0.5), all.quantile(0.5));
            prop_assert_eq!(Durations::from_bytes(&all.to_bytes()), all);
        }
    }
}
