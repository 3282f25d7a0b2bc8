//! A listener on every address of this machine that records which of them are reached.

use std::{
    collections::BTreeMap,
    net::IpAddr,
    sync::{Arc, Mutex},
};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream},
};

/// The number of connections to each address.
#[derive(Clone, Default)]
pub(super) struct AddressRecorder(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl AddressRecorder {
    /// Listens on all addresses. Answers each request with 204, and closes the connection.
    pub(super) async fn listen(port: u16) -> Self {
        let recorder = Self::default();
        // Of both families: IPv4 addresses appear as mapped ones.
        let listener = TcpListener::bind(("::", port)).await.expect("the port is free");
        let reached = recorder.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let address = stream.local_addr().expect("an address").ip().to_canonical();
                *reached.0.lock().expect("no panic").entry(address).or_default() += 1;
                tokio::spawn(answer(stream));
            }
        });
        recorder
    }

    /// The addresses that were reached so far.
    pub(super) fn reached(&self) -> BTreeMap<IpAddr, usize> {
        self.0.lock().expect("no panic").clone()
    }
}

async fn answer(mut stream: TcpStream) {
    // The request is small, and arrives in one piece.
    let _ = stream.read(&mut [0; 16 * 1024]).await;
    let _ = stream.write_all(b"HTTP/1.1 204 Yes\r\nconnection: close\r\n\r\n").await;
}
