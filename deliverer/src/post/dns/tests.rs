//! Looking names up with the answers of a test, under paused time.

use std::sync::atomic::{AtomicUsize, Ordering};

use super::*;

/// Resolves `public` to one public address, `mixed` to a public and a private one, `empty` to none, `dead` never, and all
/// others to an error; counts the look-ups.
fn resolver() -> (AddressCheck, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let counter = asked.clone();
    let look_up: LookUp = Arc::new(move |name| {
        counter.fetch_add(1, Ordering::Relaxed);
        let addresses = |texts: &[&str]| Ok(texts.iter().map(|text| text.parse().unwrap()).collect());
        let answer = match name.split('.').next() {
            Some("public") => addresses(&["1.1.1.1"]),
            Some("mixed") => addresses(&["1.1.1.1", "10.0.0.1"]),
            Some("empty") => addresses(&[]),
            Some("dead") => return std::future::pending().boxed(),
            _ => Err(NoAddress),
        };
        async move { answer }.boxed()
    });
    (AddressCheck::new(look_up, Arc::default()), asked)
}

/// The addresses of a name, or why there are none, within three seconds.
async fn resolve(resolver: &AddressCheck, name: &str) -> String {
    match tokio::time::timeout(Duration::from_secs(3), resolver.checked(name)).await {
        Ok(Ok(addresses)) => in_words(&addresses),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "timeout".to_owned(),
    }
}

fn in_words(addresses: &[IpAddr]) -> String {
    addresses.iter().map(ToString::to_string).collect::<Vec<_>>().join(" ")
}

#[tokio::test(start_paused = true)]
async fn a_name_is_refused_if_any_of_its_addresses_is_forbidden() {
    let (resolver, _) = resolver();
    for (name, expected) in [
        ("public.example", "1.1.1.1"),
        ("mixed.example", "the address is not allowed"),
        ("empty.example", "the name cannot be resolved"),
        ("nowhere.example", "the name cannot be resolved"),
        ("127.0.0.1", "the address is not allowed"),
        ("[::ffff:10.0.0.1]", "the address is not allowed"),
        ("[2606:4700::1]", "2606:4700::1"),
    ] {
        assert_eq!(resolve(&resolver, name).await, expected, "{name}");
    }
    let anywhere = resolver.unchecked("mixed.example").await.unwrap();
    assert_eq!(in_words(&anywhere), "1.1.1.1 10.0.0.1", "for the operator's own proxy");
}

#[tokio::test(start_paused = true)]
async fn a_look_up_that_succeeded_is_not_kept_but_one_that_failed_is_for_a_second() {
    let (resolver, asked) = resolver();
    for expected in [1, 2, 3] {
        resolve(&resolver, "public.example").await;
        tokio::time::sleep(Duration::from_millis(1)).await;
        assert_eq!(asked.load(Ordering::Relaxed), expected);
    }
    for _ in 0..5 {
        resolve(&resolver, "nowhere.example").await;
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert_eq!(asked.load(Ordering::Relaxed), 4);
    tokio::time::sleep(Duration::from_secs(1)).await;
    resolve(&resolver, "nowhere.example").await;
    assert_eq!(asked.load(Ordering::Relaxed), 5);
}

#[tokio::test(start_paused = true)]
async fn a_name_whose_servers_are_dead_holds_one_permit_however_often_it_is_looked_up() {
    let (resolver, asked) = resolver();
    for _ in 0..100 {
        assert_eq!(resolve(&resolver, "dead.example").await, "timeout");
    }
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    assert_eq!(resolver.permits.available_permits(), CONCURRENT_LOOKUPS - 1, "and keeps it as long as its thread");
    assert_eq!(resolve(&resolver, "public.example").await, "1.1.1.1", "others are not held up");
}
