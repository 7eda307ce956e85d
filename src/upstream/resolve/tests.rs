use super::*;
use crate::upstream::tests::{named, stands_for};
use hickory_resolver::config::{ConnectionConfig, NameServerConfig};
use parking_lot::Mutex;
use std::{collections::HashMap, net::Ipv4Addr};
use tokio::net::UdpSocket;

/// What a name server says of a name.
#[derive(Clone, Copy)]
enum Answer {
    Address(Ipv4Addr, u32),
    Failure,
    Silence,
}

/// A name server on this machine; it knows what the test says, and counts who asks for an IPv4 address.
#[derive(Clone)]
struct Server {
    names: Names,
    answers: Arc<Mutex<HashMap<&'static str, Answer>>>,
    asked: Arc<Mutex<HashMap<String, usize>>>,
}

impl Server {
    async fn start() -> Server {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let mut udp = ConnectionConfig::udp();
        udp.port = socket.local_addr().unwrap().port();
        let server = NameServerConfig::new(Ipv4Addr::LOCALHOST.into(), true, vec![udp]);
        let servers = Some(ResolverConfig::from_name_servers(vec![server]));
        let server = Server { names: Names { servers }, answers: Arc::default(), asked: Arc::default() };
        let shared = server.clone();
        tokio::spawn(async move {
            let mut bytes = [0; 1500];
            while let Ok((count, from)) = socket.recv_from(&mut bytes).await {
                if let Some(answer) = shared.answer(&bytes[..count]) {
                    socket.send_to(&answer, from).await.unwrap();
                }
            }
        });
        server
    }

    fn says(&self, name: &'static str, answer: Answer) {
        self.answers.lock().insert(name, answer);
    }

    fn asked(&self, name: &str) -> usize {
        self.asked.lock().get(name).copied().unwrap_or_default()
    }

    /// A message of RFC 1035 §4.1 with the question of another one and at most one address.
    fn answer(&self, query: &[u8]) -> Option<Vec<u8>> {
        let (mut name, mut rest) = (String::new(), &query[12..]);
        while rest[0] != 0 {
            let (label, after) = rest[1..].split_at(usize::from(rest[0]));
            name = format!("{name}{}.", str::from_utf8(label).unwrap().to_ascii_lowercase());
            rest = after;
        }
        let is_a = rest[1..3] == [0, 1];
        let question = &query[12..query.len() - rest.len() + 5];
        if is_a {
            *self.asked.lock().entry(name.clone()).or_default() += 1;
        }
        let answer = self.answers.lock().get(&*name).copied().unwrap_or(Answer::Failure);
        let (code, record) = match answer {
            Answer::Silence => return None,
            Answer::Failure => (2, None),
            Answer::Address(..) if !is_a => (0, None),
            Answer::Address(ip, ttl) => {
                let head = [0xc0, 12, 0, 1, 0, 1];
                (0, Some([&head, &ttl.to_be_bytes()[..], &[0, 4], &ip.octets()].concat()))
            }
        };
        let counts = [0, 1, 0, u8::from(record.is_some()), 0, 0, 0, 0];
        let head = [&query[..2], &[0x81, 0x80 | code], &counts].concat();
        Some([head, question.to_vec(), record.unwrap_or_default()].concat())
    }
}

async fn until(what: &str, holds: impl Fn() -> bool) {
    for _ in 0..6_000 {
        if holds() {
            return;
        }
        sleep(Duration::from_millis(5)).await;
    }
    panic!("waited in vain for {what}");
}

fn ip(last: u8) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, last)
}

#[tokio::test]
async fn names_are_asked_for_again_when_their_time_is_over() {
    let server = Server::start().await;
    server.says("moves.test.", Answer::Address(ip(11), 1));
    server.says("stays.test.", Answer::Address(ip(21), 3600));
    // Asked first, and never heard of: nobody else waits for it.
    server.says("silent.test.", Answer::Silence);
    let upstream = Arc::new(named(&["silent.test.", "moves.test.", "stays.test."]));
    let running = tokio::spawn(run(upstream.clone(), server.names.clone()));
    let is = |index: usize, last: u8| stands_for(&upstream, index) == [SocketAddr::from((ip(last), 80))];
    until("the first answers", || is(1, 11) && is(2, 21)).await;
    server.says("moves.test.", Answer::Address(ip(12), 1));
    until("another answer", || is(1, 12)).await;
    assert!(server.asked("moves.test.") >= 2);
    // A server that fails takes nothing away.
    let asked = server.asked("moves.test.");
    server.says("moves.test.", Answer::Failure);
    until("a question without an answer", || server.asked("moves.test.") > asked).await;
    assert!(is(1, 12) && is(2, 21));
    server.says("moves.test.", Answer::Address(ip(13), 1));
    until("the answer after a failure", || is(1, 13)).await;
    assert_eq!(server.asked("stays.test."), 1, "its answer is good for longer");
    assert!(is(0, 99), "what was known at load");
    running.abort();
}

#[tokio::test]
async fn an_answer_that_is_good_for_no_time_is_good_for_a_second() {
    let server = Server::start().await;
    server.says("hurried.test.", Answer::Address(ip(31), 0));
    let upstream = Arc::new(named(&["hurried.test."]));
    let begun = Instant::now();
    let running = tokio::spawn(run(upstream, server.names.clone()));
    until("three questions", || server.asked("hurried.test.") >= 3).await;
    assert!(begun.elapsed() >= 2 * TTL[0], "{:?}", begun.elapsed());
    running.abort();
}

#[tokio::test]
async fn an_answer_tells_how_long_it_is_good_for() {
    let server = Server::start().await;
    let target = Target { host: "a.test.".to_owned(), port: 8080, weight: 1 };
    for ttl in [0, 7, 200, 100_000] {
        server.says("a.test.", Answer::Address(ip(1), ttl));
        let (found, left) = server.names.ask(&target).await.unwrap();
        assert_eq!(found, [SocketAddr::from((ip(1), 8080))]);
        let ttl = Duration::from_secs(u64::from(ttl).min(86_400));
        assert!(left <= ttl && left + Duration::from_secs(30) >= ttl, "{left:?} {ttl:?}");
    }
    server.says("a.test.", Answer::Failure);
    assert!(server.names.ask(&target).await.is_err());
}

#[tokio::test]
async fn what_the_system_has_in_its_file_needs_no_server() {
    let target = Target { host: "localhost".to_owned(), port: 80, weight: 1 };
    assert_eq!(of_hosts(&target).unwrap(), [SocketAddr::from((ip(1), 80))]);
    assert_eq!(of_hosts(&Target { host: "no-such-host.invalid".to_owned(), ..target.clone() }), None);
    let (found, ttl) = Names::default().ask(&target).await.unwrap();
    assert_eq!((found, ttl), (vec![SocketAddr::from((ip(1), 80))], AGAIN));
}

#[test]
fn addresses_are_in_order_and_of_one_kind() {
    for (found, used) in [
        (
            &["[::1]:80", "127.0.0.2:80", "127.0.0.1:80", "127.0.0.2:80"][..],
            &["127.0.0.1:80", "127.0.0.2:80"][..],
        ),
        (&["[::2]:80", "[::1]:80"], &["[::1]:80", "[::2]:80"]),
    ] {
        let parse =
            |texts: &[&str]| texts.iter().map(|text| text.parse().unwrap()).collect::<Vec<SocketAddr>>();
        assert_eq!(usable(parse(found).into_iter()).unwrap(), parse(used));
    }
    assert!(usable(std::iter::empty()).is_err());
    let many = (0..100).map(|port| SocketAddr::from(([127, 0, 0, 1], port)));
    assert_eq!(usable(many).unwrap().len(), ADDRESSES);
}
