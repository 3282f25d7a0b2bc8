//! A name server on loopback: names below [`SILENT`] are never answered, all others are 127.0.0.1.

use std::net::SocketAddr;

use tokio::{net::UdpSocket, task::JoinHandle};

pub(super) const SILENT: &str = "silent.test";

/// Length of the header of a message (RFC 1035, section 4.1.1).
const HEADER: usize = 12;
/// Flags of an answer without an error: a response, recursion desired and available.
const ANSWERED: [u8; 2] = [0x81, 0x80];
/// Type of a question for an IPv4 address, and the Internet's class.
const A_IN: [u8; 4] = [0, 1, 0, 1];
/// A record with the question's name: type A, class IN, TTL 1 s, 4 bytes of address.
const LOOPBACK: [u8; 16] = [0xc0, HEADER as u8, 0, 1, 0, 1, 0, 0, 0, 1, 0, 4, 127, 0, 0, 1];

/// A running name server. Its drop ends it.
pub(super) struct NameServer {
    pub(super) address: SocketAddr,
    task: JoinHandle<()>,
}

impl NameServer {
    pub(super) async fn start() -> anyhow::Result<Self> {
        let socket = UdpSocket::bind("127.0.0.1:0").await?;
        let address = socket.local_addr()?;
        let task = tokio::spawn(async move {
            let mut question = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut question).await {
                if let Some(answer) = question.get(..length).and_then(answer) {
                    // A lost answer is asked for again.
                    let _ = socket.send_to(&answer, from).await;
                }
            }
        });
        Ok(Self { address, task })
    }
}

impl Drop for NameServer {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// The answer to a message with one question. None for one that gets no answer. A question for anything but an IPv4
/// address gets an answer without records.
fn answer(message: &[u8]) -> Option<Vec<u8>> {
    let (header, mut rest) = message.split_at_checked(HEADER)?;
    let mut name = Vec::new();
    loop {
        let (length, after) = rest.split_first()?;
        if *length == 0 {
            break;
        }
        let (label, after) = after.split_at_checked(usize::from(*length))?;
        name.push(String::from_utf8_lossy(label).to_ascii_lowercase());
        rest = after;
    }
    let kind = rest.get(1..5)?;
    if name.join(".").ends_with(SILENT) {
        return None;
    }
    let question = &message[HEADER..message.len() - rest.len() + 5];
    let record: &[u8] = if kind == A_IN { &LOOPBACK } else { &[] };
    let counts = [0, 1, 0, u8::from(!record.is_empty()), 0, 0, 0, 0];
    Some([&header[..2], &ANSWERED, &counts, question, record].concat())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A question for the IPv4 address of `name`, with an additional record, as resolvers send it.
    fn question(name: &str, kind: u8) -> Vec<u8> {
        let mut message = vec![7, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 1];
        for label in name.split('.') {
            message.push(label.len() as u8);
            message.extend(label.bytes());
        }
        message.extend([0, 0, kind, 0, 1]);
        message.extend([0, 0, 41, 4, 208, 0, 0, 0, 0, 0, 0]);
        message
    }

    #[test]
    fn a_healthy_name_has_one_address_and_a_silent_one_no_answer() {
        let found = answer(&question("N1.healthy.test", 1)).expect("an answer");
        assert_eq!(found[..12], [7, 9, 0x81, 0x80, 0, 1, 0, 1, 0, 0, 0, 0]);
        assert!(found.ends_with(&[127, 0, 0, 1]), "{found:?}");
        let none = answer(&question("n1.healthy.test", 28)).expect("an answer");
        assert_eq!(none[6..8], [0, 0]);
        assert_eq!(answer(&question("n1.Silent.test", 1)), None);
        assert_eq!(answer(&[0; 11]), None);
    }
}
