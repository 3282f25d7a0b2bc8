//! How long a delivery to a paused endpoint waits until it is looked at again. Pure.

/// First waits, in ms. Each is longer by chance, by up to as much again: together they spread over 45 s what came at once.
const FIRST_MS: [u64; 3] = [5_000, 10_000, 30_000];
/// Waits after these, in ms, of which chance takes one. Each is one hop on a ladder of fixed delays.
const USUAL_MS: [u64; 2] = [60_000, 120_000];
/// Waits, in ms, where so many wait that the usual ones would bring back too many in a second.
const CROWDED_MS: [u64; 2] = [120_000, 300_000];

/// Ms until the next look at a delivery that has found its endpoint paused `times` times before. All that waits for the
/// endpoint may come back within `all_return_ms`, so that no wait is shorter on average. `chance` is in 0..1.
pub(super) fn wait_ms(times: u32, all_return_ms: f64, chance: f64) -> u64 {
    let is_long_enough = |ms: &u64| *ms as f64 >= all_return_ms;
    let first = FIRST_MS.iter().skip(times as usize).find(|ms| is_long_enough(ms));
    let of_two = |waits: [u64; 2]| waits[usize::from(chance >= 0.5)];
    match first {
        Some(first) => first + (*first as f64 * chance) as u64,
        None if is_long_enough(&USUAL_MS[0]) => of_two(USUAL_MS),
        None => of_two(CROWDED_MS),
    }
}

#[cfg(test)]
mod tests {
    use broker::Due;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn waits_grow_from_five_seconds_to_a_minute_or_two() {
        let waits = |chance| [0, 1, 2, 3, 4, 1_000].map(|times| wait_ms(times, 0.0, chance) / 1_000);
        assert_eq!(waits(0.0), [5, 10, 30, 60, 60, 60]);
        assert_eq!(waits(0.999), [9, 19, 59, 120, 120, 120]);
    }

    #[test]
    fn the_more_wait_the_longer_they_do_from_the_first_time_on() {
        let waits =
            [4_000.0, 9_000.0, 25_000.0, 60_000.0, 60_001.0, 1e12].map(|all_ms| wait_ms(0, all_ms, 0.5) / 1_000);
        assert_eq!(waits, [7, 15, 45, 120, 300, 300]);
    }

    /// Simulates what many deliveries that came within a second cost, and when they look.
    #[test]
    fn what_came_at_once_does_not_return_at_once() {
        let (deliveries, gap_ms) = (30_000_u32, 1_000.0 / 1_500.0);
        let mut chance = 0.0_f64;
        let mut looks = vec![0_u32; 1_000];
        for nth in 0..deliveries {
            let (mut at, mut times) = (u64::from(nth * 1_000 / deliveries), 0);
            while at < 600_000 {
                chance = (chance + 0.618_033_988_749) % 1.0;
                at += wait_ms(times, f64::from(nth) * gap_ms, (chance * 7.0) % 1.0);
                times += 1;
                looks[(at / 1_000) as usize] += 1;
            }
        }
        let late = &looks[300..600];
        let (most, all) = (late.iter().max().copied().unwrap_or_default(), late.iter().sum::<u32>());
        assert!(most < 1_500, "{most} in a second");
        assert!(all / 300 < 400, "{} a second on average", all / 300);
    }

    proptest! {
        #[test]
        fn a_wait_is_at_least_five_seconds_and_at_most_five_minutes_and_long_ones_take_one_hop(
            times: u32, all_return_ms in 0.0..1e9_f64, chance in 0.0..1.0_f64,
        ) {
            let wait_ms = wait_ms(times, all_return_ms, chance);
            prop_assert!((5_000..=300_000).contains(&wait_ms));
            prop_assert!(wait_ms < 60_000 || Due::ONE_HOP_MS.contains(&wait_ms), "{wait_ms}");
        }
    }
}
