//! The gateway of deploy/nginx, with a real nginx: one address for producer and control.

use std::{fs, net::TcpListener, path::Path, process::Stdio};

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::process::{Child, Command};

use crate::harness::{KEY, Process, Receiver, Site, acme, client, eventually, script, succeeds};

/// An nginx with the committed configuration. It is killed when it is dropped.
struct Gateway {
    base: String,
    http: reqwest::Client,
    _child: Child,
}

impl Gateway {
    /// Starts one for these roles, on a free port. It writes only to `folder`.
    async fn start(folder: &Path, producer: &Process, control: &Process) -> Self {
        fs::create_dir_all(folder).expect("a folder");
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("an address").to_string();
        drop(listener);
        let config = folder.join("nginx.conf");
        fs::write(&config, configuration(folder, &address, producer, control)).expect("its folder");
        let nginx = succeeds(script("nginx")).await;
        let child = Command::new(nginx.trim())
            .args(["-c", config.to_str().expect("text"), "-e", "stderr"])
            .args(["-g", "daemon off; master_process off;"])
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .expect("nginx runs");
        let gateway = Self { base: format!("http://{address}"), http: client(), _child: child };
        let tenants = || gateway.request(Method::GET, "/v1/tenants").send();
        eventually("nginx listens", || async { tenants().await.ok() }).await;
        gateway
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, format!("{}{path}", self.base)).bearer_auth(KEY)
    }

    async fn ask(&self, method: Method, path: &str, body: Option<Value>) -> (u16, Value) {
        let request = self.request(method, path);
        let request = match body {
            Some(body) => request.header("content-type", "application/json").body(body.to_string()),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        let status = answer.status().as_u16();
        (status, serde_json::from_str(&answer.text().await.expect("a body")).unwrap_or_default())
    }
}

/// The configuration of deploy/nginx/nginx.conf, with addresses instead of the names of containers.
fn configuration(folder: &Path, address: &str, producer: &Process, control: &Process) -> String {
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/nginx/nginx.conf");
    let mut text = fs::read_to_string(committed).expect("it is there");
    let at = |process: &Process| process.api().url().replace("http://", "");
    let roles =
        format!("map $role $address {{ producer {}; control {}; }}\n\n    server {{", at(producer), at(control));
    let changes = [
        ("/tmp/", format!("{}/", folder.display())),
        ("listen 8080", format!("listen {address}")),
        ("http://$role:8080", "http://$address".to_owned()),
        ("server {", roles),
    ];
    for (from, to) in changes {
        assert!(text.contains(from), "the configuration has no {from:?}");
        text = text.replace(from, &to);
    }
    text
}

#[tokio::test(flavor = "multi_thread")]
async fn the_gateway_takes_events_in_at_the_producer_and_asks_control_what_became_of_them() {
    let receiver = Receiver::accepting().await;
    let site = Site::on_rabbitmq(&acme(&receiver.url("/crm"))).await;
    let (producer, control) = (site.start("producer").await, site.start("control").await);
    let (router, deliverer) = (site.start("router").await, site.start("deliverer").await);
    for process in [&producer, &control, &router, &deliverer] {
        process.ready().await;
    }
    let gateway = Gateway::start(&site.path("gateway"), &producer, &control).await;

    let events = "/v1/tenants/acme/events";
    let event = json!({"id": "seen", "type": "ticket.created", "ticket": {"id": 7}});
    let (status, accepted) = gateway.ask(Method::POST, events, Some(event)).await;
    assert_eq!((status, &accepted["accepted"][0]["id"]), (202, &json!("seen")), "{accepted}");
    receiver.until("it arrives", |recorder| recorder.delivered("/crm") == 1).await;
    let listed = eventually("history has it", || async {
        let (status, list) = gateway.ask(Method::GET, &format!("{events}?ticket_id=7"), None).await;
        assert_eq!(status, 200, "{list}");
        list["items"].as_array().and_then(|items| items.first().cloned())
    })
    .await;
    assert_eq!(listed["id"], "seen");
    let (status, one) = gateway.ask(Method::GET, &format!("{events}/seen"), None).await;
    assert_eq!((status, &one["id"]), (200, &json!("seen")), "{one}");
    let (status, deliveries) = gateway.ask(Method::GET, "/v1/tenants/acme/deliveries?ticket_id=7", None).await;
    assert_eq!((status, &deliveries["items"][0]["event_id"]), (200, &json!("seen")), "{deliveries}");

    // The intake of vendors is the producer's, by any method: control knows no such path.
    let (status, refused) = gateway.ask(Method::POST, "/v1/in/no-such-token", Some(json!({}))).await;
    let (own, own_refusal) = producer.api().ask(KEY, Method::POST, "/v1/in/no-such-token", Some(json!({}))).await;
    assert_eq!((status, &refused["code"]), (own, &own_refusal["code"]), "{refused}");
}
