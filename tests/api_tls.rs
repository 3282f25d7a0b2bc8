//! TLS of the API's own listener.

use std::fs;

use crate::harness::{Process, Site};

/// A self-signed certificate for 127.0.0.1, and its key, in PEM.
fn certificate() -> (String, String) {
    let made = rcgen::generate_simple_self_signed(["127.0.0.1".to_owned()]).expect("a certificate");
    (made.cert.pem(), made.signing_key.serialize_pem())
}

/// A site whose API has such a certificate, in `cert.pem`.
fn with_tls() -> Site {
    let site = Site::embedded("tenants: [{id: acme}]");
    let (cert, key) = certificate();
    fs::write(site.path("cert.pem"), cert).expect("its own folder");
    fs::write(site.path("key.pem"), key).expect("its own folder");
    site.set("http.tls.cert", "cert.pem").set("http.tls.key", "key.pem")
}

async fn url_of(process: &Process) -> String {
    let http = process.logged("process.started").await["http"].as_str().expect("an API").to_owned();
    format!("https://{http}")
}

/// Runs `carteiro publish`. Returns its exit code and its output on both streams.
async fn publishes(site: &Site, more: &[&str]) -> (i32, String) {
    fs::write(site.path("event.json"), r#"{"type":"ticket.created"}"#).expect("its own folder");
    let output = site.run(&[&["publish", "--tenant", "acme", "event.json"], more].concat()).await;
    let said = [output.stdout, output.stderr].concat();
    (output.status.code().expect("it ends by itself"), String::from_utf8(said).expect("text"))
}

#[tokio::test]
async fn the_api_speaks_tls_and_http2_to_clients_that_trust_its_certificate() {
    let site = with_tls();
    let standalone = site.start("standalone").await;
    let url = url_of(&standalone).await;

    // Fails when the process has a provider already, which then serves.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let pem = fs::read(site.path("cert.pem")).expect("it was written");
    let certificate = reqwest::Certificate::from_pem(&pem).expect("a certificate");
    let client = reqwest::Client::builder().no_proxy().tls_certs_only([certificate]).build().expect("a client");
    let answer = client.get(format!("{url}/v1/nothing")).send().await.expect("an answer");
    assert_eq!((answer.status().as_u16(), answer.version()), (404, reqwest::Version::HTTP_2));

    let trusting = ["--server", &url, "--ca-file", "cert.pem"];
    let (code, said) = publishes(&site, &trusting).await;
    assert_eq!((code, said.lines().last()), (0, Some("1 of 1 confirmed, 0 failed")), "{said}");
    let (code, said) = publishes(&site, &["--server", &url]).await;
    assert_eq!((code, said.contains("UnknownIssuer; give --ca-file")), (69, true), "{said}");
    let (code, said) = publishes(&site, &["--server", &url, "--ca-file", "key.pem"]).await;
    assert_eq!((code, said.contains("key.pem: holds no certificate")), (64, true), "{said}");
    assert_eq!(standalone.end().await, 0);
}

#[tokio::test]
async fn a_command_learns_from_the_configuration_that_the_api_speaks_tls() {
    let (code, said) = publishes(&with_tls().set("http.listen", "127.0.0.1:9"), &[]).await;
    assert_eq!((code, said.contains("https://127.0.0.1:9: nobody listens")), (69, true), "{said}");
}

#[tokio::test]
async fn a_certificate_that_cannot_be_used_exits_78_and_names_its_key() {
    let site = with_tls();
    for (file, key) in [("cert.pem", "http.tls.key"), ("missing.pem", "http.tls.key"), ("missing.pem", "http.tls.cert")]
    {
        let output = site.run(&["--set", &format!("{key}={file}"), "standalone"]).await;
        let said = String::from_utf8(output.stderr).expect("text");
        assert_eq!(
            (output.status.code(), said.contains(&format!("carteiro: {key}: {file}"))),
            (Some(78), true),
            "{said}"
        );
    }
}
