//! No spelling of a URL, and no answer of a name server, leads into the operator's network.
//!
//! The test binary starts itself again in a network namespace that has only a loopback device, with public and private
//! addresses of all kinds. The test answers all names there. One listener accepts connections to all addresses, and
//! records which were reached.

mod listeners;

use std::{
    collections::{BTreeMap, BTreeSet},
    net::IpAddr,
};

use serde_json::Value;

use crate::harness::{NameServer, Process, Site, Zone, eventually, ids, in_its_own_place, in_time};
use listeners::AddressRecorder;

/// Port of the listener: in the namespace all are free.
const PORT: u16 = 8080;
/// Public addresses, which are allowed.
const PUBLIC: [&str; 2] = ["1.1.1.1", "2606:4700::1111"];
/// Addresses that are refused by default, with a listener on each.
const FORBIDDEN: [&str; 20] = [
    "0.0.0.1",
    "10.0.0.1",
    "100.64.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.0.1",
    "198.18.0.1",
    "203.0.113.1",
    "240.0.0.1",
    "::10.0.0.1",
    "::ffff:0:10.0.0.1",
    "64:ff9b::10.0.0.1",
    "64:ff9b:1::10.0.0.1",
    "100::1",
    "2001::1",
    "2001:db8::1",
    "2002:a00:1::1",
    "5f00::1",
    "fd00::1",
    "fec0::1",
];

/// Hosts of URLs that are literals of forbidden addresses, in all spellings.
const LITERALS: [&str; 23] = [
    "127.0.0.1",
    "127.1",
    "127.0.0.1.",
    "2130706433",
    "0x7f000001",
    "0x7F.0.0.0x1",
    "0177.0.0.1",
    "017700000001",
    "0",
    "0.0.0.0",
    "10.1",
    "167772161",
    "0xa9.0xfe.0xa9.0xfe",
    "2852039166",
    "①②⑦.⓪.⓪.①",
    "１２７。０．0｡1",
    "%31%32%37.0.0.1",
    "[::1]",
    "[0:0:0:0:0:0:0:1]",
    "[::ffff:127.0.0.1]",
    "[::ffff:a00:1]",
    "[::ffff:0:a00:1]",
    "[::]",
];
/// Names that lead to forbidden addresses, by the hosts file or by the test's name server.
const NAMES: [(&str, &[&str]); 14] = [
    ("localhost", &[]),
    ("LOCALHOST", &[]),
    ("private.example", &["10.0.0.1"]),
    ("private.example.", &["10.0.0.1"]),
    ("metadata.example", &["169.254.169.254"]),
    ("mixed.example", &["1.1.1.1", "10.0.0.1"]),
    ("mixed-families.example", &["1.1.1.1", "fd00::1"]),
    ("mostly-public.example", &["1.1.1.1", "2606:4700::1111", "192.168.0.1"]),
    ("mapped.example", &["::ffff:10.0.0.1"]),
    ("nat64.example", &["64:ff9b::10.0.0.1"]),
    ("6to4.example", &["2002:a00:1::1"]),
    ("teredo.example", &["2001::1"]),
    ("unspecified.example", &["0.0.0.0"]),
    ("pｒivate.example", &["10.0.0.1"]),
];

#[test]
fn no_url_and_no_name_leads_into_the_operators_network() {
    let addresses = PUBLIC.iter().chain(&FORBIDDEN);
    let prefixed = addresses.map(|text| format!("{text}/{}", if text.contains(':') { 128 } else { 32 }));
    let name = "ssrf::no_url_and_no_name_leads_into_the_operators_network";
    in_its_own_place("loopback-only", prefixed.chain(["--".to_owned()]), name, inside());
}

async fn inside() {
    let listeners = AddressRecorder::listen(PORT).await;
    let _names = NameServer::start(53, zone()).await;
    let (forbidden, allowed) = (forbidden(), ["1.1.1.1", "[2606:4700::1111]", "public.example"].map(str::to_owned));

    // Forbidden addresses are refused, and public ones are not.
    let site = Site::embedded(&tenants(forbidden.iter().chain(&allowed))).set("deliverer.allow_networks", "");
    let process = site.start("standalone").await;
    let outcomes = outcomes(&process, "refused", forbidden.len() + allowed.len()).await;
    for (nth, host) in forbidden.iter().enumerate() {
        assert_eq!(outcomes[&nth], "blocked_ip", "{host}");
    }
    for (nth, host) in allowed.iter().enumerate() {
        assert_eq!(outcomes[&(forbidden.len() + nth)], "2xx", "{host}");
    }
    let reached = listeners.reached();
    let public = PUBLIC.map(|text| text.parse::<IpAddr>().expect("an address"));
    assert!(reached.keys().all(|address| public.contains(address)), "{reached:?}");
    process.end().await;

    // The listeners do run there: with all networks allowed, each is reached.
    let site = Site::embedded(&tenants(forbidden.iter())).set("deliverer.allow_networks", "0.0.0.0/0,::/0");
    let process = site.start("standalone").await;
    let open = self::outcomes(&process, "open", forbidden.len()).await;
    for (nth, host) in forbidden.iter().enumerate() {
        assert_eq!(open[&nth], "2xx", "{host} leads nowhere here: the test would not notice");
    }
    process.end().await;

    rebinding(&listeners).await;
}

/// Names whose address changes with every answer: the deliverer connects to the address that it has checked.
async fn rebinding(listeners: &AddressRecorder) {
    let before = listeners.reached();
    let hosts: Vec<_> = (0..40).map(|nth| format!("rebinding-{}.example", nth % 10)).collect();
    let site = Site::embedded(&tenants(hosts.iter())).set("deliverer.allow_networks", "");
    let process = site.start("standalone").await;
    // An answer is kept for some seconds.
    let mut seen = BTreeMap::<usize, BTreeSet<String>>::new();
    in_time("a name leads to both of its addresses in turn", async {
        for round in 0.. {
            let outcomes = outcomes(&process, &format!("round-{round}"), hosts.len()).await;
            outcomes.into_iter().for_each(|(nth, outcome)| _ = seen.entry(nth).or_default().insert(outcome));
            if seen.values().any(|outcomes| outcomes.len() > 1) {
                break;
            }
        }
    })
    .await;
    let all: BTreeSet<_> = seen.into_values().flatten().collect();
    assert!(all.iter().eq(["2xx", "blocked_ip"]), "{all:?}");
    let private: IpAddr = "10.0.0.1".parse().expect("an address");
    assert_eq!(listeners.reached().get(&private), before.get(&private), "a forbidden address was reached");
    process.end().await;
}

fn forbidden() -> Vec<String> {
    let bracketed = |text: &&str| if text.contains(':') { format!("[{text}]") } else { (*text).to_owned() };
    let literals = FORBIDDEN.iter().map(bracketed).chain(LITERALS.map(str::to_owned));
    literals.chain(NAMES.map(|(name, _)| name.to_owned())).collect()
}

fn zone() -> Zone {
    let mut zone: Zone = NAMES.iter().map(|(name, texts)| ((*name).to_owned(), vec![parsed(texts)])).collect();
    zone.insert("public.example".to_owned(), vec![parsed(&["1.1.1.1"])]);
    for nth in 0..10 {
        let turns = vec![parsed(&["1.1.1.1"]), parsed(&["10.0.0.1"])];
        zone.insert(format!("rebinding-{nth}.example"), turns);
    }
    zone
}

fn parsed(texts: &[&str]) -> Vec<IpAddr> {
    texts.iter().map(|text| text.parse().expect("an address")).collect()
}

/// The YAML of a tenant with an endpoint for each host, which all get every event.
fn tenants<'a>(hosts: impl Iterator<Item = &'a String>) -> String {
    let (mut endpoints, mut subscriptions) = (String::new(), String::new());
    for (nth, host) in hosts.enumerate() {
        let url = format!("http://{host}:{PORT}/");
        endpoints += &format!("      - {{id: e{nth}, url: \"{url}\", retry: {{schedule: [1h], max_age: 2h}}}}\n");
        subscriptions += &format!("      - {{id: e{nth}, endpoint_id: e{nth}, event_types: [\"*\"]}}\n");
    }
    format!("tenants:\n  - id: acme\n    endpoints:\n{endpoints}    subscriptions:\n{subscriptions}")
}

/// Publishes one event. Returns the outcome of the first attempt at each endpoint.
async fn outcomes(process: &Process, event: &str, endpoints: usize) -> BTreeMap<usize, String> {
    let published = process.api().publish("acme", ids(event, 1)).await;
    let is_of_it = |line: &&Value| line["event_id"].as_str().is_some_and(|id| published.contains(id));
    eventually("every endpoint has had its attempt", || async {
        let log = process.log();
        let attempted = log.iter().filter(|line| line["message"] == "delivery.attempted").filter(is_of_it);
        let outcomes: BTreeMap<usize, String> = attempted.filter_map(outcome).collect();
        (outcomes.len() == endpoints).then_some(outcomes)
    })
    .await
}

fn outcome(line: &Value) -> Option<(usize, String)> {
    let nth = line["endpoint_id"].as_str()?.strip_prefix('e')?.parse().ok()?;
    Some((nth, line["outcome"].as_str()?.to_owned()))
}
