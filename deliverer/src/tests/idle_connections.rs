//! How many connections are kept open without a request, and that none is closed with one.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering::SeqCst},
    },
    time::Duration,
};

use bytes::Bytes;
use futures_util::{FutureExt as _, future::join_all};
use h2::server::SendResponse;
use http::Version;

use super::{
    defaults,
    memory_network::{
        MemoryNetwork, Receiver,
        Step::{Drip, Read, Send},
        script,
    },
    network::{PUBLIC, answer, keeps_alive, leading_to, over_tls, trusting},
};
use crate::DelivererConfig;

const MS: Duration = Duration::from_millis(1);

/// Many hosts that are one receiver, and a client that keeps few idle connections to them.
struct Hosts {
    network: MemoryNetwork,
    scheme: &'static str,
    /// Connections that are open at the receiver.
    open: Arc<AtomicUsize>,
}

impl Hosts {
    fn new(receiver: &Receiver, scheme: &'static str, max_idle_connections: u32, config: DelivererConfig) -> Self {
        let open = Arc::new(AtomicUsize::new(0));
        let (counter, receiver) = (open.clone(), receiver.clone());
        let counting: Receiver = Arc::new(move |stream| {
            let (open, handling) = (counter.clone(), receiver(stream));
            async move {
                open.fetch_add(1, SeqCst);
                handling.await;
                open.fetch_sub(1, SeqCst);
            }
            .boxed()
        });
        let config = DelivererConfig { max_idle_connections, ..config };
        Self { network: MemoryNetwork::with_names(counting, leading_to(vec![vec![PUBLIC]]), &config), scheme, open }
    }

    /// Hosts that speak HTTP/1.1, and the same ones with HTTP/2.
    fn of_both_versions(max_idle_connections: u32) -> [Self; 2] {
        let (over_h2, authority) = over_tls(answer);
        [
            Self::new(&keeps_alive(), "http", max_idle_connections, defaults()),
            Self::new(&over_h2, "https", max_idle_connections, trusting(&authority)),
        ]
    }

    /// Posts to a host. Returns the beginning of the answer, which is a 2xx.
    async fn post(&self, host: usize) -> String {
        let (outcome, _) = self.network.post(&format!("{}://h{host}.hooks.example/", self.scheme)).await;
        assert!(matches!(outcome.status, Some(200 | 204)), "{}://h{host}: {}", self.scheme, outcome.excerpt);
        outcome.excerpt
    }

    /// Connections that were made so far, and those that are still open once everything has been noticed.
    async fn connections(&self) -> (usize, usize) {
        tokio::time::sleep(MS).await;
        (self.network.dialled().len(), self.open.load(SeqCst))
    }
}

#[tokio::test(start_paused = true)]
async fn idle_connections_to_many_hosts_stay_within_the_limit_and_those_used_last_are_kept() {
    for hosts in Hosts::of_both_versions(5) {
        for host in 0..50 {
            hosts.post(host).await;
            let made = host + 1;
            assert_eq!(hosts.connections().await, (made, made.min(5)), "{}", hosts.scheme);
        }
        for host in [45, 48, 46, 49, 47] {
            hosts.post(host).await;
            assert_eq!(hosts.connections().await, (50, 5), "{}: host {host} again", hosts.scheme);
        }
        hosts.post(0).await;
        for host in [48, 46, 49, 47] {
            hosts.post(host).await;
            assert_eq!(hosts.connections().await, (51, 5), "{}: host {host} after another", hosts.scheme);
        }
        hosts.post(45).await;
        assert_eq!(hosts.connections().await, (52, 5), "{}: it was the least recent one", hosts.scheme);
    }
}

#[tokio::test(start_paused = true)]
async fn no_idle_connection_is_kept_with_a_limit_of_zero() {
    for hosts in Hosts::of_both_versions(0) {
        for nth in 1..4 {
            hosts.post(0).await;
            assert_eq!(hosts.connections().await, (nth, 0), "{}", hosts.scheme);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_connection_whose_answer_is_still_read_is_not_closed() {
    let dripping = [Read, Send("HTTP/1.1 200 OK\r\ncontent-length: 8\r\n\r\n"), Drip("x", 1)];
    let hosts = Hosts::new(&script(&dripping), "http", 0, defaults());
    let answers = join_all((0..4).map(|host| hosts.post(host))).await;
    assert_eq!(answers, ["xxxxxxxx"; 4]);
    assert_eq!(hosts.connections().await.0, 4);
}

#[tokio::test(start_paused = true)]
async fn a_connection_over_http_2_with_one_of_its_requests_under_way_is_not_closed() {
    /// Answers the second request after five seconds, and the others at once.
    fn slowly(nth: usize, version: Version, respond: SendResponse<Bytes>) {
        let wait = Duration::from_secs(if nth == 1 { 5 } else { 0 });
        tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            answer(nth, version, respond);
        });
    }
    let (receiver, authority) = over_tls(slowly);
    let hosts = Hosts::new(&receiver, "https", 1, trusting(&authority));
    hosts.post(0).await;
    let others = async {
        for host in [0, 1, 2, 0, 3, 4] {
            tokio::time::sleep(10 * MS).await;
            hosts.post(host).await;
        }
        hosts.connections().await
    };
    let (slow, (made, open)) = tokio::join!(hosts.post(0), others);
    assert_eq!((slow.as_str(), made, open), ("HTTP/2.0", 5, 2), "the one under way, and the last");
}

#[tokio::test(start_paused = true)]
async fn a_request_that_gets_a_connection_as_it_is_closed_is_sent_over_another_one() {
    for hosts in Hosts::of_both_versions(1) {
        hosts.post(0).await;
        assert_eq!(hosts.connections().await, (1, 1));
        // The second closes the connection of the first, whose task runs only after the third has taken it.
        hosts.post(1).await;
        hosts.post(0).await;
        assert_eq!(hosts.connections().await, (3, 1), "{}", hosts.scheme);
    }
}
