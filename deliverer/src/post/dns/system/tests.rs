//! Looking names up at a name server on this machine. The names end with a dot, so that no search domain is tried.

use hickory_resolver::proto::{
    op::{Message, OpCode, ResponseCode},
    rr::{RData, Record},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, UdpSocket},
    time::Instant,
};

use super::*;

const TIMEOUT: Duration = Duration::from_millis(500);

/// A resolver whose only name server answers for names by their first label: `both` has addresses of both families,
/// `half` has one, and is not answered for in the other family, `lost` has none, and likewise, `unsaid` has one, and the server cannot say
/// anything about the other family, `large` needs TCP, `broken` is one that the server
/// cannot say anything about, `silent` is never answered for, and all others do not exist.
async fn resolver() -> Arc<SystemResolver> {
    Arc::new(SystemResolver::new(&[name_server(answer).await], TIMEOUT))
}

/// Makes the answer to a question, or none.
type Answer = fn(&[u8], bool) -> Option<Vec<u8>>;

/// Starts a name server, and returns its address.
async fn name_server(answer: Answer) -> SocketAddr {
    let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = tcp.local_addr().unwrap();
    let udp = UdpSocket::bind(address).await.unwrap();
    tokio::spawn(async move {
        let mut packet = [0; 512];
        while let Ok((length, peer)) = udp.recv_from(&mut packet).await {
            if let Some(answer) = answer(&packet[..length], false) {
                udp.send_to(&answer, peer).await.unwrap();
            }
        }
    });
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = tcp.accept().await {
            tokio::spawn(async move {
                while let Ok(length) = stream.read_u16().await {
                    let mut question = vec![0; length.into()];
                    stream.read_exact(&mut question).await.unwrap();
                    let answer = answer(&question, true).unwrap();
                    stream.write_u16(answer.len().try_into().unwrap()).await.unwrap();
                    stream.write_all(&answer).await.unwrap();
                }
            });
        }
    });
    address
}

/// Refuses to answer, whatever the question.
fn refusal(question: &[u8], _: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let mut answer = Message::response(question.id, OpCode::Query);
    answer.metadata.response_code = ResponseCode::Refused;
    answer.add_query(question.queries[0].clone());
    Some(answer.to_vec().unwrap())
}

fn answer(question: &[u8], over_tcp: bool) -> Option<Vec<u8>> {
    let question = Message::from_vec(question).unwrap();
    let query = question.queries[0].clone();
    let mut answer = Message::response(question.id, OpCode::Query);
    let name = query.name().to_string();
    let label = name.split('.').next().unwrap();
    let (is_v4, is_v6) = (query.query_type() == RecordType::A, query.query_type() == RecordType::AAAA);
    let (v4, v6) = (RData::A(Ipv4Addr::LOCALHOST.into()), RData::AAAA(std::net::Ipv6Addr::LOCALHOST.into()));
    let mut add = |data, ttl| _ = answer.add_answer(Record::from_rdata(query.name().clone(), ttl, data));
    match label {
        "silent" => return None,
        "half" | "lost" if is_v6 => return None,
        "unsaid" if is_v6 => answer.metadata.response_code = ResponseCode::ServFail,
        "both" | "half" | "unsaid" | "my_host" if is_v4 => add(v4, 7),
        "both" if is_v6 => add(v6, 5),
        "large" if over_tcp && is_v4 => add(v4, 9),
        "large" if !over_tcp => answer.metadata.truncation = true,
        "large" | "lost" | "my_host" => {}
        "broken" => answer.metadata.response_code = ResponseCode::ServFail,
        _ => answer.metadata.response_code = ResponseCode::NXDomain,
    }
    answer.add_query(query);
    Some(answer.to_vec().unwrap())
}

fn found(addresses: &[&str], ttl: u64) -> Result<Found, LookUpError> {
    let addresses = addresses.iter().map(|text| text.parse().unwrap()).collect();
    Ok(Found { addresses, ttl: Duration::from_secs(ttl), is_half: false })
}

fn half(address: &str, ttl: u64) -> Result<Found, LookUpError> {
    found(&[address], ttl).map(|found| Found { is_half: true, ..found })
}

#[tokio::test]
async fn a_name_is_looked_up_at_the_configured_name_server_in_both_families() {
    let resolver = resolver().await;
    for (label, expected) in [
        ("both", found(&["127.0.0.1", "::1"], 5)),
        ("my_host", found(&["127.0.0.1"], 7)),
        ("large", found(&["127.0.0.1"], 9)),
        ("unsaid", half("127.0.0.1", 7)),
        ("nowhere", Err(LookUpError::NoAddress)),
        ("broken", Err(LookUpError::NoAnswer)),
    ] {
        assert_eq!(resolver.clone().look_up(format!("{label}.example.")).await, expected, "{label}");
    }
    let too_long = format!("{}.example.", "x".repeat(64));
    assert_eq!(resolver.look_up(too_long).await, Err(LookUpError::NoAddress));
}

#[tokio::test]
async fn a_name_server_that_refuses_to_answer_leaves_it_to_the_others() {
    let (first, second) = (name_server(refusal).await, name_server(answer).await);
    for servers in [[first, second], [second, first]] {
        let resolver = Arc::new(SystemResolver::new(&servers, TIMEOUT));
        for (label, expected) in [("both", found(&["127.0.0.1", "::1"], 5)), ("nowhere", Err(LookUpError::NoAddress))] {
            assert_eq!(resolver.clone().look_up(format!("{label}.example.")).await, expected, "{label}");
        }
    }
    let resolver = Arc::new(SystemResolver::new(&[first, first], TIMEOUT));
    assert_eq!(resolver.look_up("both.example.".to_owned()).await, Err(LookUpError::NoAnswer));
}

#[tokio::test]
async fn silence_ends_after_the_timeout_and_addresses_of_one_family_are_enough() {
    let resolver = resolver().await;
    let no_answer = || Err(LookUpError::NoAnswer);
    for (label, expected) in [("half", half("127.0.0.1", 7)), ("lost", no_answer()), ("silent", no_answer())] {
        let began = Instant::now();
        assert_eq!(resolver.clone().look_up(format!("{label}.example.")).await, expected, "{label}");
        assert!(began.elapsed() >= TIMEOUT, "{label}: {:?}", began.elapsed());
    }
}

#[test]
fn a_name_is_asked_for_below_the_search_domains_and_as_it_is() {
    let name = |text: &str| Name::from_ascii(text).unwrap();
    let domains = [name("a.example."), name("b.example.")];
    for (text, ndots, expected) in [
        ("hooks", 1, &["hooks.a.example.", "hooks.b.example.", "hooks."][..]),
        ("hooks.web", 1, &["hooks.web.", "hooks.web.a.example.", "hooks.web.b.example."]),
        ("hooks.web", 2, &["hooks.web.a.example.", "hooks.web.b.example.", "hooks.web."]),
        ("hooks.web.", 2, &["hooks.web."]),
    ] {
        let names: Vec<_> = in_full(&name(text), &domains, ndots).iter().map(ToString::to_string).collect();
        assert_eq!(names, expected, "{text}, ndots {ndots}");
    }
}

#[tokio::test]
async fn a_name_of_the_hosts_file_is_not_asked_for() {
    let found = resolver().await.look_up("localhost".to_owned()).await.unwrap();
    assert!(!found.addresses.is_empty() && found.addresses.iter().all(IpAddr::is_loopback), "{found:?}");
}
