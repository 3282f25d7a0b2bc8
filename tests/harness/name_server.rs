//! A name server with a test's answers, for A and AAAA over UDP (RFC 1035, section 4.1).

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use tokio::{net::UdpSocket, task::JoinHandle};

/// The addresses of each name: one list for each question for IPv4 addresses in turn, beginning again after the last. A
/// name without a list is never answered for.
pub(crate) type Zone = BTreeMap<String, Vec<Vec<IpAddr>>>;

const A: u16 = 1;
const AAAA: u16 = 28;
/// Flags of an answer: recursion available, no error.
const FOUND: u16 = 0x8180;
/// Flags of an answer: recursion available, no such name.
const NO_NAME: u16 = 0x8183;

/// The running name server. It ends when it is dropped.
pub(crate) struct NameServer {
    pub(crate) address: SocketAddr,
    task: JoinHandle<()>,
}

impl NameServer {
    /// Starts it on 127.0.0.1. Port 0 is any that is free.
    pub(crate) async fn start(port: u16, zone: Zone) -> Self {
        let socket = UdpSocket::bind(("127.0.0.1", port)).await.expect("the port is free");
        let address = socket.local_addr().expect("it is bound");
        let zone: BTreeMap<_, _> = zone.into_iter().map(|(name, turns)| (plain(&name), turns)).collect();
        let asked = Arc::new(AtomicUsize::new(0));
        let task = tokio::spawn(async move {
            let mut packet = [0; 512];
            while let Ok((length, peer)) = socket.recv_from(&mut packet).await {
                if let Some(reply) = reply(&packet[..length], &zone, &asked) {
                    let _ = socket.send_to(&reply, peer).await;
                }
            }
        });
        Self { address, task }
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// A name as it is in questions: IDNA replaces full-width letters, and the final dot is left out.
fn plain(name: &str) -> String {
    name.trim_end_matches('.').replace('ｒ', "r").to_lowercase()
}

fn reply(question: &[u8], zone: &BTreeMap<String, Vec<Vec<IpAddr>>>, asked: &AtomicUsize) -> Option<Vec<u8>> {
    let (name, rest) = name(question.get(12..)?)?;
    let kind = u16::from_be_bytes([*rest.first()?, *rest.get(1)?]);
    let end = question.len() - rest.len() + 4;
    let turns = zone.get(&name);
    if turns.is_some_and(Vec::is_empty) {
        return None;
    }
    let addresses = turns.map_or(&[][..], |turns| {
        // Only questions for IPv4 are counted, so that both questions of one lookup get the same list.
        let nth = if kind == A { asked.fetch_add(1, Ordering::Relaxed) } else { 0 };
        &turns[nth % turns.len()]
    });
    let answers: Vec<_> = addresses
        .iter()
        .filter_map(|address| match address {
            IpAddr::V4(address) if kind == A => Some(address.octets().to_vec()),
            IpAddr::V6(address) if kind == AAAA => Some(address.octets().to_vec()),
            _ => None,
        })
        .collect();
    let mut reply = question[..2].to_vec();
    let counts = [1, u16::try_from(answers.len()).ok()?, 0, 0];
    for word in [if turns.is_some() { FOUND } else { NO_NAME }].into_iter().chain(counts) {
        reply.extend_from_slice(&word.to_be_bytes());
    }
    reply.extend_from_slice(&question[12..end]);
    for address in answers {
        // The name of the question, its kind, class IN, not to be kept.
        reply.extend_from_slice(&[0xc0, 12]);
        reply.extend_from_slice(&kind.to_be_bytes());
        reply.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, u8::try_from(address.len()).ok()?]);
        reply.extend_from_slice(&address);
    }
    Some(reply)
}

/// A question's name, and what follows it.
fn name(mut bytes: &[u8]) -> Option<(String, &[u8])> {
    let mut labels = Vec::new();
    loop {
        let (length, rest) = bytes.split_first()?;
        let length = usize::from(*length);
        if length == 0 {
            return Some((labels.join(".").to_lowercase(), rest));
        }
        labels.push(String::from_utf8_lossy(rest.get(..length)?).into_owned());
        bytes = &rest[length..];
    }
}
