//! Looking names up with the answers of a test, under paused time.

use futures_util::{FutureExt as _, future::join_all};
use tokio::time::{Instant, sleep};

use super::*;

const TIMEOUT: Duration = Duration::from_millis(2_250);
/// Longest wait of a newcomer for its turn.
const AT_ONCE: Duration = Duration::from_millis(50);

/// The names that were looked up, with the second of each, in their order.
type Asked = Arc<std::sync::Mutex<Vec<(u64, String)>>>;

/// Resolves names by their first label: `public` to a public address, `mixed` to a public and a private one, `moving` to
/// the next address each time, `ttl-7` to an address for seven seconds, `empty` to none, and `silent` never. `once` is
/// only answered for the first time, and `panics` panics. `half` is answered for in one family only, after a second, and
/// `halved` likewise after the first time. `many` has 40 addresses of both families. All others have no address.
fn resolver() -> (AddressCheck, Asked) {
    let (asked, began) = (Asked::default(), Instant::now());
    let log = asked.clone();
    let look_up: LookUp = Arc::new(move |name| {
        let mut log = log.lock().unwrap();
        let nth = log.iter().filter(|(_, known)| *known == name).count();
        log.push((began.elapsed().as_secs(), name.clone()));
        let found = |addresses: &[&str], ttl| {
            let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
            Ok(Found { addresses, ttl: Duration::from_secs(ttl), is_half: false })
        };
        let half = |addresses: &[&str]| found(addresses, 30).map(|found| Found { is_half: true, ..found });
        let answer = match name.split_once('.').map(|(label, _)| label.split_once('-').unwrap_or((label, ""))) {
            Some(("public", _)) => found(&["1.1.1.1"], 30),
            Some(("mixed", _)) => found(&["1.1.1.1", "10.0.0.1"], 30),
            Some(("moving", _)) => found(&[&format!("1.1.1.{nth}")], 30),
            Some(("ttl", seconds)) => found(&["1.1.1.1"], seconds.parse().unwrap()),
            Some(("empty", _)) => found(&[], 30),
            Some(("once", _)) if nth == 0 => found(&["1.1.1.1"], 30),
            Some(("half", _)) => half(&["1.1.1.1"]),
            Some(("halved", _)) if nth == 0 => found(&["1.1.1.1", "2606:4700::1"], 30),
            Some(("halved", _)) => half(&["2606:4700::1"]),
            Some(("many", _)) => {
                let v4 = (1..=20).map(|nth| format!("1.1.1.{nth}"));
                let all: Vec<_> = v4.chain((1..=20).map(|nth| format!("2606:4700::{nth:x}"))).collect();
                found(&all.iter().map(String::as_str).collect::<Vec<_>>(), 30)
            }
            Some(("panics", _)) => return async { panic!("a test's") }.boxed(),
            Some(("silent" | "once", _)) => return std::future::pending().boxed(),
            _ => Err(LookUpError::NoAddress),
        };
        let takes = if matches!(answer, Ok(Found { is_half: true, .. })) { 1 } else { 0 };
        async move {
            sleep(Duration::from_secs(takes)).await;
            answer
        }
        .boxed()
    });
    (AddressCheck::new(Names::new(look_up, TIMEOUT), Arc::default()), asked)
}

/// The addresses of a name, or why there are none.
async fn resolve(resolver: &AddressCheck, name: &str, tenant: &str) -> String {
    match resolver.checked(name, tenant).await {
        Ok(addresses) => in_words(&addresses),
        Err(error) => error.to_string(),
    }
}

fn in_words(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

/// Looks a name up every second, so many times. Returns the seconds of the look-ups that were made for it.
async fn asked_every_second(resolver: &AddressCheck, asked: &Asked, name: &str, seconds: u64) -> Vec<u64> {
    for _ in 0..seconds {
        resolve(resolver, name, "acme").await;
        sleep(Duration::from_secs(1)).await;
    }
    let asked = asked.lock().unwrap();
    asked.iter().filter(|(_, known)| known == name).map(|(second, _)| *second).collect()
}

#[tokio::test(start_paused = true)]
async fn a_name_is_refused_if_any_of_its_addresses_is_forbidden() {
    let (resolver, _) = resolver();
    for _ in 0..2 {
        for (name, expected) in [
            ("public.example", "1.1.1.1"),
            ("mixed.example", "the address is not allowed"),
            ("empty.example", "the name cannot be resolved"),
            ("nowhere.example", "the name cannot be resolved"),
            ("127.0.0.1", "the address is not allowed"),
            ("[::ffff:10.0.0.1]", "the address is not allowed"),
            ("[2606:4700::1]", "2606:4700::1"),
        ] {
            assert_eq!(resolve(&resolver, name, "acme").await, expected, "{name}");
        }
    }
    let anywhere = resolver.unchecked("mixed.example", "acme").await.unwrap();
    assert_eq!(in_words(&anywhere), "1.1.1.1 10.0.0.1", "for the operator's own proxy");
}

#[tokio::test(start_paused = true)]
async fn addresses_are_kept_for_their_ttl_but_between_5_and_60_seconds() {
    for (name, expected) in
        [("ttl-0.example", &[0, 5, 10, 15][..]), ("ttl-7.example", &[0, 7, 14]), ("ttl-86400.example", &[0])]
    {
        let (resolver, asked) = resolver();
        assert_eq!(asked_every_second(&resolver, &asked, name, 20).await, expected, "{name}");
    }
    let (resolver, asked) = resolver();
    assert_eq!(asked_every_second(&resolver, &asked, "ttl-86400.example", 125).await, [0, 60, 120]);
}

#[tokio::test(start_paused = true)]
async fn addresses_are_used_while_they_are_looked_up_anew_and_for_a_minute_when_nobody_answers() {
    let (resolver, _) = resolver();
    assert_eq!(resolve(&resolver, "moving.example", "acme").await, "1.1.1.0");
    sleep(Duration::from_secs(31)).await;
    assert_eq!(resolve(&resolver, "moving.example", "acme").await, "1.1.1.0", "without a wait");
    sleep(Duration::from_millis(1)).await;
    assert_eq!(resolve(&resolver, "moving.example", "acme").await, "1.1.1.1");

    let began = Instant::now();
    let mut used = 0;
    while resolve(&resolver, "once.example", "acme").await == "1.1.1.1" {
        used = began.elapsed().as_secs();
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(used, 89, "30 s of its TTL, and 60 s more");
    let error = "the name cannot be resolved: its name servers do not answer";
    assert_eq!(resolve(&resolver, "once.example", "acme").await, error);
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_does_not_replace_the_known_addresses_of_the_other_family() {
    let (resolver, asked) = resolver();
    for second in 0..100 {
        let expected = if second < 90 { "1.1.1.1 2606:4700::1" } else { "2606:4700::1" };
        assert_eq!(resolve(&resolver, "halved.example", "acme").await, expected, "in second {second}");
        sleep(Duration::from_secs(1)).await;
    }
    let asked: Vec<_> = asked.lock().unwrap().iter().map(|(second, _)| *second).collect();
    assert_eq!(asked[..5], [0, 30, 33, 38, 47], "as of one that nobody answers for");
}

#[tokio::test(start_paused = true)]
async fn half_an_answer_is_used_for_5_seconds_and_then_until_the_next() {
    let (resolver, asked) = resolver();
    for second in 0..30 {
        let began = Instant::now();
        assert_eq!(resolve(&resolver, "half.example", "acme").await, "1.1.1.1");
        let expected = if second == 0 { Duration::from_secs(1) } else { Duration::ZERO };
        assert_eq!(began.elapsed(), expected, "in second {second}");
        sleep(Duration::from_secs(1)).await;
    }
    let asked: Vec<_> = asked.lock().unwrap().iter().map(|(second, _)| *second).collect();
    assert_eq!(asked, [0, 6, 12, 18, 24, 30], "each with the second that it took");
}

#[tokio::test(start_paused = true)]
async fn a_name_is_used_with_16_addresses_of_both_families() {
    let (resolver, _) = resolver();
    let used = resolver.checked("many.example", "acme").await.unwrap();
    assert_eq!(used.len(), 16, "{used:?}");
    assert_eq!(used.iter().filter(|address| address.is_ipv4()).count(), 8, "{used:?}");
}

#[tokio::test(start_paused = true)]
async fn a_name_without_an_address_is_looked_up_again_after_a_second() {
    let (resolver, asked) = resolver();
    for _ in 0..10 {
        resolve(&resolver, "nowhere.example", "acme").await;
        sleep(Duration::from_millis(200)).await;
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_that_nobody_answers_for_is_looked_up_at_longer_and_longer_intervals() {
    let (resolver, asked) = resolver();
    let seconds = asked_every_second(&resolver, &asked, "silent.example", 300).await;
    let waits: Vec<_> = seconds.windows(2).map(|pair| pair[1] - pair[0]).collect();
    let expected = [4, 6, 10, 18, 34, 62, 62];
    assert!(waits.len() >= expected.len(), "{waits:?}");
    for (wait, expected) in waits.iter().zip(expected) {
        assert!((expected..=expected + 2).contains(wait), "{waits:?}, each with the look-up before it");
    }
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_panics_is_one_without_an_answer() {
    let (resolver, asked) = resolver();
    for _ in 0..2 {
        let error = resolve(&resolver, "panics.example", "acme").await;
        assert_eq!(error, "the name cannot be resolved: its name servers do not answer");
        sleep(Duration::from_secs(3)).await;
    }
    assert_eq!(asked.lock().unwrap().len(), 2);
}

#[tokio::test(start_paused = true)]
async fn a_name_is_looked_up_once_however_many_wait_for_it() {
    let (resolver, asked) = resolver();
    let began = Instant::now();
    let all = join_all((0..100).map(|_| resolve(&resolver, "silent.example", "acme"))).await;
    assert!(all.iter().all(|error| error.ends_with("do not answer")), "{all:?}");
    assert_eq!((asked.lock().unwrap().len(), began.elapsed()), (1, TIMEOUT));
    assert_eq!(resolve(&resolver, "silent.example", "acme").await, all[0]);
    assert_eq!(began.elapsed(), TIMEOUT, "the failure is known");
}

/// Looks up a thousand names of one tenant that nobody answers for.
fn flood(resolver: &Arc<AddressCheck>) {
    for nth in 0..1_000 {
        let resolver = resolver.clone();
        tokio::spawn(async move { resolve(&resolver, &format!("silent-{nth}.example"), "flood").await });
    }
}

#[tokio::test(start_paused = true)]
async fn another_tenants_name_is_looked_up_at_once_beside_a_thousand_that_nobody_answers_for() {
    let (resolver, asked) = resolver();
    let resolver = Arc::new(resolver);
    flood(&resolver);
    sleep(Duration::from_millis(1)).await;
    for nth in 0..10 {
        let began = Instant::now();
        assert_eq!(resolve(&resolver, &format!("public-{nth}.example"), "acme").await, "1.1.1.1");
        assert!(began.elapsed() <= AT_ONCE, "name {nth} after {:?}", began.elapsed());
    }
    let began = Instant::now();
    let names = (0..10).map(|nth| (format!("public-of-{nth}.example"), format!("t{nth}")));
    let all = names.map(|(name, tenant)| {
        let resolver = resolver.clone();
        async move { resolve(&resolver, &name, &tenant).await }
    });
    assert_eq!(join_all(all).await, ["1.1.1.1"; 10]);
    assert!(began.elapsed() <= AT_ONCE, "{:?}", began.elapsed());
    assert!(asked.lock().unwrap().len() < 300, "the others still wait for their turn");
}

#[tokio::test(start_paused = true)]
async fn a_name_that_one_tenant_has_queued_behind_many_is_looked_up_when_another_needs_it() {
    let (resolver, _) = resolver();
    let resolver = Arc::new(resolver);
    flood(&resolver);
    sleep(Duration::from_millis(1)).await;
    let began = Instant::now();
    let (queued, needed) =
        tokio::join!(resolve(&resolver, "public.example", "flood"), resolve(&resolver, "public.example", "acme"));
    assert_eq!((queued.as_str(), needed.as_str()), ("1.1.1.1", "1.1.1.1"));
    assert!(began.elapsed() <= AT_ONCE, "{:?}", began.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_thousand_names_that_nobody_answers_for_are_given_up_and_then_cost_nothing() {
    let (resolver, asked) = resolver();
    let resolver = Arc::new(resolver);
    flood(&resolver);
    sleep(TIMEOUT + Duration::from_secs(1)).await;
    let before = asked.lock().unwrap().len();
    assert!((650..1_000).contains(&before), "{before}: a request that has ended begins no look-up");
    flood(&resolver);
    sleep(Duration::from_secs(60)).await;
    let began = Instant::now();
    assert_eq!(resolve(&resolver, "public.example", "acme").await, "1.1.1.1");
    assert_eq!(began.elapsed(), Duration::ZERO);
}
