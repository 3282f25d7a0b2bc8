//! Receivers that are hostile or broken: each costs a bounded time and a bounded number of bytes, counted where the client
//! reads them, and has a clear outcome. Time is paused, so the bounds are exact.

use std::time::Duration;

use bytes::Bytes;
use schemas::OutcomeClass::{self, Malformed, ServerError, Success, Timeout};

use super::memory_network::{
    MemoryNetwork, Receiver,
    Step::{self, Drip, Flood, Hang, Read, Send},
    read_head, script,
};

const URL: &str = "http://1.1.1.1/hooks";
const NOW: Duration = Duration::ZERO;
/// The default of `first_byte_timeout`.
const FIRST_BYTE: Duration = Duration::from_secs(10);
/// The default of an endpoint's `timeout`.
const TOTAL: Duration = Duration::from_secs(15);
/// The default of `connect_timeout`.
const CONNECT: Duration = Duration::from_secs(3);
/// Most bytes that may be read from a connection: a body (64 KiB), a head (64 KiB), and what is read ahead.
const MOST: u64 = 64 * 1024 * 4;

/// What a receiver does after it has read the request, and the outcome that is expected.
struct Case {
    what: &'static str,
    steps: &'static [Step],
    class: OutcomeClass,
    took: Duration,
    most: u64,
}

/// Responses without a status line, or without an end of the head.
const WITHOUT_ANSWER: [Case; 13] = [
    Case {
        what: "a status line, a byte a second",
        steps: &[Drip("HTTP/1.1 200 OK", 1)],
        class: Timeout,
        took: FIRST_BYTE,
        most: 16,
    },
    Case {
        what: "a header line a second",
        steps: &[Send("HTTP/1.1 200 OK\r\n"), Drip("x-a: b\r\n", 8)],
        class: Timeout,
        took: FIRST_BYTE,
        most: 128,
    },
    Case {
        what: "a 1xx a second",
        steps: &[Drip("HTTP/1.1 100 Continue\r\n\r\n", 25)],
        class: Timeout,
        took: FIRST_BYTE,
        most: 300,
    },
    Case { what: "silence", steps: &[Hang], class: Timeout, took: FIRST_BYTE, most: 0 },
    Case {
        what: "headers without end",
        steps: &[Send("HTTP/1.1 200 OK\r\n"), Flood("x-a: b\r\n")],
        class: Malformed,
        took: NOW,
        most: MOST,
    },
    Case {
        what: "a header without end",
        steps: &[Send("HTTP/1.1 200 OK\r\nx-a: "), Flood("b")],
        class: Malformed,
        took: NOW,
        most: MOST,
    },
    Case {
        what: "a status line without end",
        steps: &[Send("HTTP/1.1 200 "), Flood("x")],
        class: Malformed,
        took: NOW,
        most: MOST,
    },
    Case { what: "empty lines without end", steps: &[Flood("\r\n")], class: Malformed, took: NOW, most: MOST },
    Case {
        what: "1xx without end",
        steps: &[Flood("HTTP/1.1 103 Early Hints\r\nlink: x\r\n\r\n")],
        class: Malformed,
        took: NOW,
        most: MOST,
    },
    Case { what: "an end instead of an answer", steps: &[], class: Malformed, took: NOW, most: 0 },
    Case { what: "an end in the head", steps: &[Send("HTTP/1.1 200 OK\r\nx-")], class: Malformed, took: NOW, most: 32 },
    Case {
        what: "two lengths that differ",
        steps: &[Send("HTTP/1.1 200 OK\r\ncontent-length: 1\r\ncontent-length: 2\r\n\r\nxx")],
        class: Malformed,
        took: NOW,
        most: 100,
    },
    Case { what: "another version", steps: &[Send("HTTP/3.0 200 OK\r\n\r\n")], class: Malformed, took: NOW, most: 32 },
];

/// Responses with a status line, which decides.
const WITH_ANSWER: [Case; 10] = [
    Case {
        what: "a body, a byte a second",
        steps: &[Send("HTTP/1.1 200 OK\r\n\r\n"), Drip("x", 1)],
        class: Success,
        took: TOTAL,
        most: 64,
    },
    Case {
        what: "a body that does not come",
        steps: &[Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"), Hang],
        class: Success,
        took: TOTAL,
        most: 64,
    },
    Case {
        what: "a body without end",
        steps: &[Send("HTTP/1.1 200 OK\r\n\r\n"), Flood("x")],
        class: Success,
        took: NOW,
        most: MOST,
    },
    Case {
        what: "chunks without end",
        steps: &[Send("HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\n"), Flood("1\r\nx\r\n")],
        class: ServerError,
        took: NOW,
        most: MOST,
    },
    Case {
        what: "a chunk's extension without end",
        steps: &[Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1;"), Flood("x")],
        class: Success,
        took: NOW,
        most: MOST,
    },
    Case {
        what: "trailers without end",
        steps: &[Send("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n0\r\n"), Flood("x: y\r\n")],
        class: Success,
        took: NOW,
        most: MOST,
    },
    Case {
        what: "chunks that are none",
        steps: &[Send("HTTP/1.1 500 Oh\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nxx\r\n"), Hang],
        class: ServerError,
        took: NOW,
        most: 100,
    },
    Case {
        what: "a body that breaks off",
        steps: &[Send("HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf")],
        class: Success,
        took: NOW,
        most: 100,
    },
    Case {
        what: "a bomb",
        steps: &[Send("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\n\x1f"), Flood("\0")],
        class: Success,
        took: NOW,
        most: MOST,
    },
    Case {
        what: "1xx, and then an answer",
        steps: &[Send("HTTP/1.1 103 Hi\r\n\r\nHTTP/1.1 100 Go on\r\n\r\nHTTP/1.1 200 OK\r\n\r\n")],
        class: Success,
        took: NOW,
        most: 100,
    },
];

#[tokio::test(start_paused = true)]
async fn each_hostile_receiver_costs_what_it_may_and_has_its_outcome() {
    for (cases, answered) in [(&WITHOUT_ANSWER[..], false), (&WITH_ANSWER[..], true)] {
        for Case { what, steps, class, took, most } in cases {
            let steps: Vec<_> = [Read].iter().chain(*steps).cloned().collect();
            let network = MemoryNetwork::without_names(script(&steps));
            let (outcome, elapsed) = network.post(URL).await;
            assert_eq!((outcome.class, outcome.status.is_some()), (*class, answered), "{what}: {}", outcome.excerpt);
            assert!(elapsed >= *took && elapsed <= *took + Duration::from_millis(2), "{what} took {elapsed:?}");
            assert!(network.bytes_read() <= *most, "{what}: {} bytes", network.bytes_read());
            assert!(outcome.excerpt.len() <= 4096);
            assert!(answered || !outcome.excerpt.is_empty(), "{what}: it says why");
            assert_eq!(network.dialled().len(), 1, "{what}: no second try");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_goes_on_after_we_are_done_is_cut_off() {
    let network = MemoryNetwork::without_names(script(&[Read, Send("HTTP/1.1 200 OK\r\n\r\n"), Flood("x")]));
    network.post(URL).await;
    tokio::time::sleep(Duration::from_secs(1)).await;
    let taken = network.bytes_read();
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    assert_eq!(network.bytes_read(), taken, "the connection is closed, not drained");
}

#[tokio::test(start_paused = true)]
async fn an_answer_before_the_request_is_read_is_an_answer() {
    let network =
        MemoryNetwork::without_names(script(&[Read, Send("HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n"), Hang]));
    let (outcome, elapsed) = network.post_body(URL, Bytes::from(vec![b'x'; 1 << 20])).await;
    assert_eq!((outcome.status, elapsed), (Some(503), NOW));
}

#[tokio::test(start_paused = true)]
async fn a_receiver_that_reads_nothing_costs_the_timeout_of_the_first_byte() {
    let network = MemoryNetwork::without_names(script(&[Hang]));
    let (outcome, elapsed) = network.post_body(URL, Bytes::from(vec![b'x'; 1 << 20])).await;
    assert_eq!(outcome.class, Timeout);
    assert!(elapsed >= FIRST_BYTE && elapsed < FIRST_BYTE + Duration::from_millis(2), "{elapsed:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handshake_that_does_not_end_costs_the_timeout_of_the_connection() {
    for steps in [&[Hang][..], &[Drip("\x16\x03\x03\x00\x7a", 1)]] {
        let network = MemoryNetwork::without_names(script(steps));
        let (outcome, elapsed) = network.post("https://1.1.1.1/hooks").await;
        assert_eq!((outcome.class, outcome.excerpt.as_str()), (Timeout, "no connection in time"));
        assert!(elapsed >= CONNECT && elapsed < CONNECT + Duration::from_millis(2), "{elapsed:?}");
        assert!(network.bytes_read() <= 4);
    }
    let network = MemoryNetwork::without_names(script(&[Flood("\x16\x03\x03\x00\x7a")]));
    let (outcome, elapsed) = network.post("https://1.1.1.1/hooks").await;
    assert_eq!((outcome.class, elapsed), (OutcomeClass::Tls, NOW), "{}", outcome.excerpt);
    assert!(network.bytes_read() <= MOST, "{}", network.bytes_read());
}

#[tokio::test(start_paused = true)]
async fn no_compression_is_asked_for() {
    let (sender, mut heads) = tokio::sync::mpsc::unbounded_channel();
    let receiver: Receiver = std::sync::Arc::new(move |mut stream| {
        let sender = sender.clone();
        Box::pin(async move { _ = sender.send(read_head(&mut stream).await) })
    });
    MemoryNetwork::without_names(receiver).post(URL).await;
    let head = heads.recv().await.unwrap().to_lowercase();
    assert!(head.starts_with("post /hooks http/1.1\r\n") && !head.contains("accept-encoding"), "{head}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_without_a_request_is_not_taken_for_that_of_the_next_request() {
    let two = "HTTP/1.1 500 Oh\r\ncontent-length: 0\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";
    let network = MemoryNetwork::without_names(script(&[Read, Send(two), Hang]));
    for nth in 1..4 {
        let (outcome, _) = network.post(URL).await;
        assert_eq!((outcome.status, network.dialled().len()), (Some(500), nth), "a connection each");
    }
}
