//! TLS to RabbitMQ and PostgreSQL: to servers whose authority is in a file, and never to others.

use std::{fs, path::Path};

use carteiro::receiver::Answer;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use reqwest::Method;
use serde_json::json;
use tempfile::TempDir;

use crate::harness::{KEY, Postgres, Process, Rabbit, Receiver, Site, eventually, ids};

/// A new authority, with its certificate in `ca.pem` of a folder.
fn authority(folder: &Path) -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    // A name of its own: of two authorities with one name, one would be tried for the other.
    params.distinguished_name.push(DnType::CommonName, format!("authority {:016x}", fastrand::u64(..)));
    let key = KeyPair::generate().expect("a key");
    let authority = CertifiedIssuer::self_signed(params, key).expect("an authority");
    fs::write(folder.join("ca.pem"), authority.pem()).expect("its own folder");
    authority
}

/// A folder with a new authority and a certificate that it has signed, for a server of this name: `cert.pem` and `key.pem`.
fn certificate_for(name: &str) -> TempDir {
    let folder = tempfile::Builder::new().prefix("carteiro-tls-").tempdir().expect("a folder");
    let (authority, key) = (authority(folder.path()), KeyPair::generate().expect("a key"));
    let params = CertificateParams::new([name.to_owned()]).expect("a name");
    let certificate = params.signed_by(&key, &authority).expect("a certificate");
    fs::write(folder.path().join("cert.pem"), certificate.pem()).expect("its own folder");
    fs::write(folder.path().join("key.pem"), key.serialize_pem()).expect("its own folder");
    folder
}

/// Waits until `/readyz` gives this reason for the broker or the store.
async fn misses(process: &Process, what: &str, why: &str) {
    eventually(why, || async {
        let (status, missing) = process.readyz().await;
        (status == 503 && missing[what].to_string().contains(why)).then_some(())
    })
    .await;
}

#[tokio::test]
async fn events_are_delivered_through_a_broker_and_a_database_over_tls() {
    let folder = certificate_for("127.0.0.1");
    let ca = folder.path().join("ca.pem");
    let (rabbit, postgres) = (Rabbit::with_tls(folder.path()).await, Postgres::with_tls(folder.path()).await);
    let (broker, store) = (
        format!("{}?cacertfile={}", rabbit.url(), ca.display()),
        format!("{}?sslmode=require&sslrootcert={}", postgres.url(), ca.display()),
    );
    assert!(broker.starts_with("amqps://"), "{broker}");
    let site = Site::on(&broker, "tenants: []").set("store.url", &store);
    let site = site.set("store.encryption_key", "a-key-of-the-tests-long-enough");
    let standalone = site.start("standalone").await;
    standalone.ready().await;
    let receiver = Receiver::start(|_| Answer::status(200)).await;
    let api = standalone.api();
    api.put("/v1/tenants/acme", json!({})).await;
    api.put("/v1/tenants/acme/endpoints/crm", json!({"url": receiver.url("/crm")})).await;
    api.put("/v1/tenants/acme/subscriptions/all", json!({"endpoint_id": "crm", "event_types": ["*"]})).await;
    let accepted = api.publish("acme", ids("encrypted", 100)).await;
    receiver.until("they arrive", |recorder| recorder.has_all("/crm", &accepted)).await;
    let listed = site.run(&["parked", "list", "--broker", &broker, "--output", "json"]).await;
    assert_eq!(listed.status.code(), Some(0), "commands speak TLS, too: {}", String::from_utf8_lossy(&listed.stderr));
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn a_server_of_an_unknown_authority_or_another_name_is_refused_and_readyz_says_why() {
    let (folder, stranger) = (certificate_for("127.0.0.1"), certificate_for("127.0.0.1"));
    let (rabbit, postgres) = (Rabbit::with_tls(folder.path()).await, Postgres::with_tls(folder.path()).await);
    let (known, strange) = (folder.path().join("ca.pem"), stranger.path().join("ca.pem"));
    let elsewhere = |url: &str| url.replace("127.0.0.1", "localhost");
    let broker = |url: &str, ca: &Path| format!("{url}?cacertfile={}", ca.display());
    let store = |url: &str, ca: &Path| format!("{url}?sslmode=require&sslrootcert={}", ca.display());
    for (broker, store, why) in [
        (rabbit.url().to_owned(), store(postgres.url(), &strange), "UnknownIssuer"),
        (broker(rabbit.url(), &strange), store(postgres.url(), &strange), "UnknownIssuer"),
        (
            broker(&elsewhere(rabbit.url()), &known),
            store(&elsewhere(postgres.url()), &known),
            "certificate not valid for name \\\"localhost\\\"",
        ),
    ] {
        let site = Site::on(&broker, "tenants: []").set("store.url", &store);
        let site = site.set("store.encryption_key", "a-key-of-the-tests-long-enough");
        let standalone = site.start("standalone").await;
        misses(&standalone, "broker", why).await;
        let log: String = standalone.log().iter().map(ToString::to_string).collect();
        assert!(log.contains("store.away") && log.contains("broker.away"), "{log}");
        let (status, problem) = standalone.api().ask(KEY, Method::GET, "/v1/tenants", None).await;
        assert_eq!(status, 503, "{problem}");
        assert_eq!(standalone.end().await, 0);
    }
    for missing in ["/nowhere/ca.pem", "key.pem"] {
        let file = folder.path().join(missing);
        let site = Site::on(&broker(rabbit.url(), &file), "tenants: []");
        let output = site.run(&["standalone"]).await;
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("broker.url") && said.contains(missing) && !said.contains("guest"), "{said}");
    }
}
