//! TLS over real sockets.

use std::sync::Arc;

use axum::{Router, extract::Extension, routing::get, serve::ListenerExt as _};
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt as _;
use tokio_util::sync::CancellationToken;

use super::{
    super::{
        HttpConfig, RequestOrigin, ServeOptions,
        certificate::Certificate,
        serve,
        testing::{Issuer, Server, read},
    },
    *,
};

fn router() -> Router {
    Router::new().route("/", get(async |Extension(origin): Extension<RequestOrigin>| origin.scheme.as_str()))
}

async fn options(issuer: &Issuer, folder: &tempfile::TempDir) -> ServeOptions {
    let tls = Some(issuer.issue("localhost").write(folder.path()));
    let json = r#"{"listen":":0","trusted_proxies":[],"requests_per_second":0,"requests_burst":1}"#;
    let config: HttpConfig = serde_json::from_str(json).unwrap();
    ServeOptions::new(&HttpConfig { tls, ..config }).await.unwrap()
}

/// Asks over TLS, offering these protocols; what was agreed on, and the answer.
async fn ask(server: &Server, issuer: &Issuer, protocols: &[&[u8]]) -> (Option<Vec<u8>>, String) {
    let tcp = TcpStream::connect(server.address).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    let mut stream = issuer.client(protocols).connect(name, tcp).await.unwrap();
    let agreed = stream.get_ref().1.alpn_protocol().map(<[u8]>::to_vec);
    if agreed.as_deref() == Some(b"h2") {
        return (agreed, String::new());
    }
    stream.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    (agreed, read(stream).await.body)
}

#[tokio::test]
async fn an_answer_over_tls_knows_its_scheme_and_http2_is_agreed_on() {
    let (issuer, folder) = (Issuer::new(), tempfile::tempdir().unwrap());
    let options = options(&issuer, &folder).await;
    let server = Server::start(|listener| serve(listener, router(), options, CancellationToken::new())).await;
    assert_eq!(ask(&server, &issuer, &[]).await, (None, "https".into()));
    assert_eq!(ask(&server, &issuer, &[b"http/1.1"]).await, (Some(b"http/1.1".into()), "https".into()));
    assert_eq!(ask(&server, &issuer, &[b"h2", b"http/1.1"]).await.0, Some(b"h2".into()));
}

#[tokio::test]
async fn silent_and_nonsensical_clients_delay_no_others() {
    let (issuer, folder) = (Issuer::new(), tempfile::tempdir().unwrap());
    let options = options(&issuer, &folder).await;
    let server = Server::start(|listener| serve(listener, router(), options, CancellationToken::new())).await;
    let mut silent = Vec::new();
    for _ in 0..32 {
        silent.push(TcpStream::connect(server.address).await.unwrap());
    }
    let mut plain = TcpStream::connect(server.address).await.unwrap();
    plain.write_all(b"GET / HTTP/1.0\r\n\r\n").await.unwrap();
    assert_eq!(ask(&server, &issuer, &[]).await.1, "https");
}

#[tokio::test]
async fn a_silent_client_is_let_go_and_makes_room() {
    let (issuer, folder) = (Issuer::new(), tempfile::tempdir().unwrap());
    let files = issuer.issue("localhost").write(folder.path());
    let certificate = Certificate::load(&files).await.unwrap();
    let acceptor = TlsAcceptor::from(Arc::new(certificate.server().unwrap()));
    let limits = HandshakeLimits { pending: 1, timeout: Duration::from_millis(50) };
    let server = Server::start(|tcp| async move {
        let listener = TlsListener::new(tcp, acceptor, limits).tap_io(|_| ());
        axum::serve(listener, Router::new().route("/", get(async || "here"))).await
    })
    .await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(ask(&server, &issuer, &[]).await.1, "here");
    let end = tokio::io::AsyncReadExt::read(&mut silent, &mut [0; 1]).await;
    assert!(matches!(end, Ok(0) | Err(_)), "the silent one was closed: {end:?}");
}
