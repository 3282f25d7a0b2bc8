//! Serving, over a real socket.

use std::sync::Arc;

use axum::{
    Json, Router,
    routing::{get, post},
};
use tokio::{io::AsyncWriteExt, net::TcpStream, sync::Notify};
use tokio_util::sync::CancellationToken;

use super::{
    ServeOptions, serve,
    testing::{Answer, Server, read},
};
use crate::problem::{Code, Problem};

async fn start(router: Router) -> (Server, CancellationToken) {
    let shutdown = CancellationToken::new();
    let trigger = shutdown.clone();
    (Server::start(|listener| serve(listener, router, ServeOptions::default(), shutdown)).await, trigger)
}

#[tokio::test]
async fn unknown_paths_and_wrong_methods_are_problems() {
    let (server, _trigger) = start(Router::new().route("/here", get(async || "here"))).await;
    let answer = server.get("/there").await;
    assert_eq!((answer.status, answer.header("content-type")), (404, Some("application/problem+json")));
    assert!(answer.body.contains(r#""code":"not_found""#), "{}", answer.body);

    let answer = server.ask("DELETE /here HTTP/1.0\r\n\r\n").await;
    assert_eq!((answer.status, answer.header("allow")), (405, Some("GET,HEAD")));
    assert!(answer.body.contains(r#""code":"method_not_allowed""#), "{}", answer.body);
}

#[tokio::test]
async fn every_answer_has_the_id_of_its_request_which_is_made_if_none_was_given() {
    let (server, _trigger) = start(Router::new().route("/here", get(async || "here"))).await;
    let given = server.ask("GET /here HTTP/1.0\r\nx-request-id: the-proxys_7\r\n\r\n").await;
    assert_eq!((given.status, given.header("x-request-id")), (200, Some("the-proxys_7")));
    let (one, other) = (server.get("/there").await, server.get("/there").await);
    let id = |answer: &Answer| answer.header("x-request-id").map(str::to_owned).filter(|id| id.len() == 32);
    assert!(id(&one).is_some() && id(&one) != id(&other), "{:?}", id(&one));
}

#[tokio::test]
async fn a_handler_that_panics_answers_500_and_the_server_goes_on() {
    async fn panics() -> &'static str {
        panic!("as the test wants")
    }
    let (server, _trigger) = start(Router::new().route("/", get(panics))).await;
    for _ in 0..2 {
        let answer = server.get("/").await;
        assert_eq!(answer.status, 500);
        assert!(answer.body.contains(r#""code":"internal""#) && !answer.body.contains("test"), "{}", answer.body);
    }
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_told_apart() {
    async fn takes(body: Result<Json<Vec<u8>>, axum::extract::rejection::JsonRejection>) -> Result<String, Problem> {
        Ok(format!("{:?}", body?.0))
    }
    let (server, _trigger) = start(Router::new().route("/", post(takes))).await;
    for (content_type, body, expected) in [
        ("application/json", "[7]", "[7]"),
        ("application/json", "[7", r#""code":"malformed_json""#),
        ("application/json", "\"a\"", r#""code":"invalid_body""#),
        ("text/plain", "[7]", r#""code":"unsupported_media_type""#),
    ] {
        let length = body.len();
        let head = format!("POST / HTTP/1.0\r\ncontent-type: {content_type}\r\ncontent-length: {length}\r\n\r\n");
        let answer = server.ask(&(head + body)).await;
        assert!(answer.body.contains(expected), "{content_type} {body}: {}", answer.body);
    }
}

#[tokio::test]
async fn answers_under_way_are_finished_before_serving_ends() {
    let (entered, leave) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let handler = {
        let (entered, leave) = (entered.clone(), leave.clone());
        async move || {
            entered.notify_one();
            leave.notified().await;
            "finished"
        }
    };
    let (server, trigger) = start(Router::new().route("/", get(handler))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: here\r\n\r\n").await.unwrap();
    entered.notified().await;

    trigger.cancel();
    assert!(!server.task.is_finished());
    leave.notify_one();
    assert_eq!(read(stream).await.body, "finished");
    server.task.await.unwrap().unwrap();
}

/// A request that the handler refuses without reading its body.
async fn refused_unread(length: usize, extra: &str) -> (TcpStream, CancellationToken, Server) {
    let refuse = async || Problem::new(Code::PayloadTooLarge);
    let (server, trigger) = start(Router::new().route("/", post(refuse))).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    let head = format!("POST / HTTP/1.1\r\nhost: here\r\ncontent-length: {length}\r\n{extra}\r\n");
    stream.write_all(head.as_bytes()).await.unwrap();
    (stream, trigger, server)
}

#[tokio::test]
async fn a_client_that_sends_its_whole_body_first_reads_why_it_was_refused() {
    let body = vec![b' '; 15 << 20];
    let (mut stream, _trigger, _server) = refused_unread(body.len(), "connection: close\r\n").await;
    stream.write_all(&body).await.expect("nothing breaks");
    assert_eq!(read(stream).await.status, 413);
}

#[tokio::test]
async fn a_body_that_is_refused_is_not_read_for_ever() {
    let (mut stream, _trigger, _server) = refused_unread(1 << 40, "").await;
    let chunk = vec![b' '; 1 << 20];
    let mut sent = 0;
    while stream.write_all(&chunk).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < 64 << 20, "{sent}");
}

#[tokio::test]
async fn a_client_that_expects_a_continue_is_refused_before_it_sends_its_body() {
    let (stream, _trigger, _server) = refused_unread(8 << 20, "connection: close\r\nexpect: 100-continue\r\n").await;
    assert_eq!(read(stream).await.status, 413);
}
