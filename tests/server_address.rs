//! The address of the running process and the keys that commands show it. A listener stands for somebody else's server: it
//! answers what it is asked, so that the tests first see that it can be reached.

use std::{
    fs,
    net::Ipv4Addr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use carteiro::receiver::Answer;
use reqwest::Method;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

use crate::harness::{KEY, Receiver, Site};

/// A listener on loopback, and the number of connections it has taken.
struct Foreign {
    port: u16,
    connections: Arc<AtomicUsize>,
}

impl Foreign {
    /// One that closes each connection without an answer.
    async fn start() -> Self {
        Self::answering("").await
    }

    /// One that answers the first request of each connection with this text.
    async fn answering(answer: &str) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let (port, connections) = (listener.local_addr().expect("bound").port(), Arc::new(AtomicUsize::new(0)));
        let (taken, answer) = (connections.clone(), answer.to_owned());
        tokio::spawn(async move {
            while let Ok((mut connection, _)) = listener.accept().await {
                taken.fetch_add(1, Ordering::Relaxed);
                // The client may be gone already.
                let _ = connection.read(&mut [0; 4096]).await;
                let _ = connection.write_all(answer.as_bytes()).await;
            }
        });
        Self { port, connections }
    }

    /// Its address in a form that leads to it, and that no rule takes for this machine.
    fn url(&self) -> String {
        format!("http://[::ffff:127.0.0.1]:{}", self.port)
    }

    fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }
}

async fn ends(site: &Site, arguments: &[&str]) -> (i32, String) {
    let output = site.run(arguments).await;
    (output.status.code().expect("it ends by itself"), String::from_utf8(output.stderr).expect("text"))
}

#[tokio::test]
async fn a_key_that_was_found_is_not_sent_to_a_foreign_host() {
    let foreign = Foreign::start().await;
    let in_file = Site::embedded("tenants: []").unset(&["http.operator_key"]);
    fs::write(in_file.path("operator.key"), "op_S3CRET\n").expect("its own folder");
    let list = ["tenants", "list", "--server", &foreign.url()];
    let (code, said) = ends(&in_file, &[&list[..], &["--key", "key_given"]].concat()).await;
    assert_eq!((code, foreign.connections()), (69, 1), "a given key goes there: {said}");
    assert!(said.starts_with("warning: the key goes to ") && !said.contains("key_given"), "{said}");

    for site in [in_file, Site::embedded("tenants: []")] {
        let (code, said) = ends(&site, &list).await;
        assert_eq!((code, said.contains("give --key")), (64, true), "{said}");
        let of_environment = site.variable("CARTEIRO_SERVER", &foreign.url());
        let (code, said) = ends(&of_environment, &["tenants", "list"]).await;
        assert_eq!((code, said.contains("give --key")), (64, true), "{said}");
    }
    assert_eq!(foreign.connections(), 1);
}

#[tokio::test]
async fn a_url_is_refused_before_anything_is_connected_to_or_read() {
    let foreign = Foreign::start().await;
    let site = Site::embedded("tenants: []").set("http.listen", &format!("127.0.0.1:{}", foreign.port));
    let create = ["endpoints", "create", "crm", "--tenant", "acme"];
    assert_eq!(ends(&site, &create).await.0, 69);
    assert_eq!(foreign.connections(), 1, "the configured address is asked");

    let url = format!("http://127.0.0.1:{}/hooks", foreign.port);
    // The missing file and the file that is no configuration would be refused with another code.
    for arguments in [
        &["endpoints", "create", "crm", "--tenant", "acme", "--url", &url][..],
        &["channels", "set", "7", "--tenant", "acme", "--url", &url, "--json", "@nowhere.json"],
        &["--config", "nowhere.toml", "tenants", "list", "--url", &url],
        &["publish", "nowhere.json", "--tenant", "acme", "--url", &url],
        &["apply", "-f", "nowhere.yaml", "--url", &url],
        &["export", "--url"],
    ] {
        let (code, said) = ends(&site, arguments).await;
        let names_both = said.contains("--server") && said.contains("--post-to");
        assert_eq!((code, names_both, said.contains("/hooks")), (64, true, false), "{arguments:?}: {said}");
    }
    for address in [&url, &format!("http://user:S3CRET@127.0.0.1:{}", foreign.port), "127.0.0.1:8080"] {
        let (code, said) = ends(&site, &["tenants", "list", "--server", address]).await;
        assert_eq!((code, said.contains("S3CRET")), (64, false), "{said}");
        let of_environment = ["tenants", "list"];
        let output =
            site.command().env("CARTEIRO_SERVER", address).args(of_environment).output().await.expect("it runs");
        let said = String::from_utf8(output.stderr).expect("text");
        let names_variable = said.starts_with("carteiro: CARTEIRO_SERVER: ");
        assert_eq!((output.status.code(), names_variable, said.contains("S3CRET")), (Some(64), true, false), "{said}");
    }
    assert_eq!(foreign.connections(), 1);
}

#[tokio::test]
async fn an_answer_that_leads_elsewhere_is_not_followed() {
    let elsewhere = Foreign::start().await;
    let site = Site::embedded("tenants: []");
    assert_eq!(ends(&site, &["tenants", "list", "--server", &elsewhere.url(), "--key", "key_given"]).await.0, 69);
    assert_eq!(elsewhere.connections(), 1, "it can be reached");
    let location = format!("location: {}/v1/tenants", elsewhere.url());
    let server = Foreign::answering(&format!("HTTP/1.1 307 Else\r\n{location}\r\ncontent-length: 0\r\n\r\n")).await;
    let (code, said) = ends(&site, &["tenants", "list", "--server", &server.url(), "--key", "key_given"]).await;
    assert_eq!((code, said.contains("give that as --server")), (1, true), "{said}");
    assert_eq!((server.connections(), elsewhere.connections()), (1, 1));
}

#[tokio::test]
async fn the_environment_has_defaults_of_address_and_key_which_are_no_settings() {
    let site = Site::embedded("tenants: [{id: acme}]");
    let standalone = site.start("standalone").await;
    let url = standalone.api().url();
    fs::write(site.path("key"), format!("{KEY}\n")).expect("its own folder");
    let with_file = format!("@{}", site.path("key").display());
    let site = site.unset(&["http.operator_key"]).variable("CARTEIRO_SERVER", &url);
    assert_eq!(ends(&site, &["config", "check"]).await.0, 0);
    assert_eq!(ends(&site, &["tenants", "list", "--key", &with_file]).await, (0, String::new()));
    assert_eq!(ends(&site, &["tenants", "list", "--key", "@nowhere"]).await.0, 64);
    let site = site.variable("CARTEIRO_KEY", &with_file);
    assert_eq!(ends(&site, &["config", "check"]).await.0, 0);
    assert_eq!(ends(&site, &["tenants", "list"]).await, (0, String::new()));
    let (code, said) = ends(&site, &["tenants", "list", "--key", "key_wrong"]).await;
    assert_eq!((code, said.starts_with("carteiro: 401: ")), (1, true), "the flag wins: {said}");
}

#[tokio::test]
async fn a_gateway_that_reaches_nobody_exits_69() {
    for status in [502, 503, 504] {
        let server = Receiver::start(move |_| Answer::status(status)).await;
        let url = server.url("");
        let site = Site::embedded("tenants: []");
        let (code, said) = ends(&site, &["tenants", "list", "--server", &url]).await;
        assert_eq!((code, said.contains(&status.to_string())), (69, true), "{said}");
        fs::write(site.path("event.json"), r#"{"type":"ticket.created"}"#).expect("its own folder");
        let (code, said) = ends(&site, &["publish", "--tenant", "acme", "event.json", "--server", &url]).await;
        assert_eq!(code, 69, "{said}");
    }
}

#[tokio::test]
async fn a_process_says_what_it_serves_and_who_serves_the_rest() {
    let site = Site::on_rabbitmq("tenants: [{id: acme}]").await;
    let producer = site.start("producer").await;
    let url = producer.api().url();
    let (code, said) = ends(&site, &["tenants", "list", "--server", &url]).await;
    let says_who = said.contains("this process is a producer") && said.contains("ask the process that runs control");
    assert_eq!((code, says_who), (1, true), "{said}");
    let root = producer.api().anonymous(Method::GET, "/").send().await.expect("it answers");
    assert_eq!((root.status().as_u16(), root.url().path()), (200, "/docs"), "a browser is led to the description");
}
