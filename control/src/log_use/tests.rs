use super::*;

/// Appends records of a tenant, ten bytes each, from an offset on.
fn append(log: &mut LogUse, tenant: &str, offsets: std::ops::Range<u64>) {
    offsets.for_each(|offset| log.add(offset, Some(tenant), 10, RecordState::Whole));
}

fn share(log: &LogUse, tenant: &str) -> Option<(u64, u64)> {
    log.shares().of(tenant, None).map(|Share { used, most, .. }| (used, most))
}

#[test]
fn a_tenant_that_is_alone_may_use_all_and_another_one_bounds_what_comes_after() {
    let mut log = LogUse::new(32_000);
    assert_eq!(share(&log, "acme"), None);
    append(&mut log, "acme", 0..5_000);
    assert_eq!((share(&log, "acme"), share(&log, "zeta")), (None, Some((0, 16_000))));
    assert_eq!(
        log.shares().of("acme", Some(7)),
        Some(Share { used: 50_000, came_back: 0, most: 7 }),
        "a quota always holds"
    );

    append(&mut log, "zeta", 5_000..5_001);
    append(&mut log, "acme", 5_001..5_401);
    let (used, most) = share(&log, "acme").unwrap();
    assert_eq!((used, most), (4_000, (32_000 - 4_010) / 2), "of what came before, nobody's is pushed out");
    log.end(5_000, "zeta");
    assert_eq!(share(&log, "acme"), None, "it was replayed");
}

#[test]
fn replays_of_what_a_tenant_appended_do_not_give_its_share_back() {
    let mut log = LogUse::new(32_000);
    append(&mut log, "quiet", 0..1);
    append(&mut log, "acme", 1..1_001);
    let before = share(&log, "acme");
    (1..1_001).for_each(|offset| log.end(offset, "acme"));
    assert_eq!((share(&log, "acme"), before), (Some((10_000, 11_000)), before));
    assert_eq!((share(&log, "quiet"), share(&log, "zeta")), (None, Some((0, 11_000))));
}

#[test]
fn a_log_that_nobody_needs_leaves_everyone_the_allowance_of_one_that_is_alone() {
    let mut log = LogUse::new(3_200);
    let allowance = |log: &LogUse, tenant: &str, quota: Option<u64>| {
        let (shares, mut levels) = (log.shares(), log.shares().levels());
        shares.add_level(&mut levels, tenant, shares.of(tenant, quota), DeadLetterRetention::Bodies);
        levels.allowances.get(tenant).copied().or(levels.allowance)
    };
    assert_eq!((allowance(&log, "acme", None), allowance(&log, "acme", Some(7))), (Some(800), Some(7)));
    assert_eq!(log.shares().levels().allowances.len(), 0, "none for each tenant that there is");
    append(&mut log, "acme", 0..1);
    assert_eq!((allowance(&log, "acme", None), allowance(&log, "zeta", None)), (Some(800), Some(100)));
    log.end(0, "acme");
    assert_eq!(allowance(&log, "zeta", None), Some(800));
}

#[test]
fn one_flood_after_another_gets_less_and_pushes_out_nothing() {
    let (mut log, mut next) = (LogUse::new(320_000), 1);
    append(&mut log, "quiet", 0..1);
    let mut got = vec![];
    for tenant in ["a", "b", "c", "d", "e", "f"] {
        let before = next;
        while share(&log, tenant).is_some_and(|(used, most)| used < 2 * most) {
            append(&mut log, tenant, next..next + 1);
            next += 1;
        }
        got.push((next - before) * 10);
    }
    assert!(got.is_sorted_by(|earlier, later| earlier > later), "{got:?}");
    assert!((159_000..=161_000).contains(&got[0]) && got[5] >= 2 * 3_200, "{got:?}");
    assert!(next * 10 < 320_000, "the quiet one's is there");
}

#[test]
fn records_count_until_the_log_has_deleted_them_and_letters_until_they_are_ended() {
    let mut log = LogUse::new(3_200);
    append(&mut log, "acme", 0..30);
    log.add(35, Some("acme"), 1, RecordState::WithoutBody);
    log.add(36, None, 5, RecordState::Whole);
    assert_eq!(log.of("acme"), TenantUse { bytes: 301, came_back: 0, alive: 31, whole: 30 });
    for _ in 0..2 {
        [3, 29, 35, 36, 999].into_iter().for_each(|offset| log.end(offset, "acme"));
        log.end(4, "zeta");
    }
    assert_eq!(log.of("acme"), TenantUse { bytes: 301, came_back: 0, alive: 28, whole: 28 });
    log.forget_before(15);
    assert_eq!(log.of("acme"), TenantUse { bytes: 201, came_back: 0, alive: 19, whole: 19 }, "whole segments");
    log.forget_tenant("acme");
    log.end(20, "acme");
    assert_eq!((log.of("acme"), log.tenants().len()), (TenantUse::default(), 0));
}
