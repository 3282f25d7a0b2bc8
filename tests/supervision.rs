//! What a service manager (systemd) learns from a process.

use tokio::net::UnixDatagram;

use crate::harness::{Site, acme, in_time};

/// A URL to which nothing is ever sent.
const NOWHERE: &str = "http://127.0.0.1:9/hooks";

/// The service manager's end of the socket that its processes write to.
struct ServiceManager(UnixDatagram);

impl ServiceManager {
    /// Makes the socket of a site, whose processes shall give a sign of life every 200 ms.
    fn of(site: Site) -> (Self, Site) {
        let socket = site.path("notify");
        let manager = Self(UnixDatagram::bind(&socket).expect("its own folder"));
        let site = site.variable("NOTIFY_SOCKET", &socket.display().to_string());
        (manager, site.variable("WATCHDOG_USEC", "200000"))
    }

    /// The next message of a process.
    async fn next(&self) -> String {
        let mut message = [0; 64];
        let length = in_time("a message", self.0.recv(&mut message)).await.expect("it is open");
        String::from_utf8_lossy(&message[..length]).trim_end().to_owned()
    }
}

#[tokio::test]
async fn a_process_tells_its_service_manager_that_it_listens_that_it_is_alive_and_that_it_stops() {
    let (manager, site) = ServiceManager::of(Site::embedded(&acme(NOWHERE)));
    let mut standalone = site.start("standalone").await;
    for expected in ["READY=1", "WATCHDOG=1", "WATCHDOG=1", "WATCHDOG=1"] {
        assert_eq!(manager.next().await, expected);
    }
    standalone.terminate().await;
    let mut last = manager.next().await;
    while last == "WATCHDOG=1" {
        last = manager.next().await;
    }
    assert_eq!(last, "STOPPING=1");
    assert_eq!(standalone.ended().await, Some(0));
}

#[tokio::test]
async fn a_process_whose_broker_is_away_is_started_and_alive_for_its_service_manager() {
    for role in ["producer", "router", "deliverer", "control"] {
        // A socket of its own, in which no earlier process has left anything.
        let (manager, site) = ServiceManager::of(Site::on("amqp://127.0.0.1:9", &acme(NOWHERE)));
        let process = site.start(role).await;
        for expected in ["READY=1", "WATCHDOG=1", "WATCHDOG=1"] {
            assert_eq!(manager.next().await, expected, "{role}");
        }
        assert_eq!(process.readyz().await.0, 503, "{role}");
    }
}
