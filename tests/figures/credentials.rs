//! Floods of credentials that are not good: what it costs to refuse them, and what others feel of it.

use crate::{Report, gateway::Gateway, net, signer::Signer};
use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use serde_json::json;
use std::{
    io,
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::{sleep_until, timeout},
};

const CONNECTIONS: usize = 32;
/// Of each measurement.
const TIME: Duration = Duration::from_secs(3);
const ROUNDS: usize = 5;
/// What the clients that are not the flood ask for, of what could be served at most.
const LOAD: f64 = 0.4;
/// The number of the connection whose address a flood comes from; no client has it.
const FLOOD: usize = 99;

const CONF: &str = "\
version: 1
state_dir: STATE
listeners:
  public: {address: 127.0.0.1:0}
  secure: {address: 127.0.0.1:0, tls: {certificates: [{certificate: cert.pem, key: key.pem}]}}
limits: {connections_per_ip: 10000}
upstreams: {origin: {targets: [{address: ORIGIN}]}}
routes:
  guarded:
    paths: [/guarded]
    upstream: origin
    plugins: {jwt: {jwks: 'KEYS'}, credential-guard: {}, response-headers: {set: {x-number: 'NUMBER'}}}
  plain: {paths: [/plain], upstream: origin, plugins: {jwt: {jwks: 'KEYS'}}}
";

type Request = dyn Fn(usize, u64) -> Vec<u8> + Send + Sync;

/// How many answers there were of each kind.
#[derive(Debug, Default, Clone, Copy)]
struct Counted {
    good: usize,
    unauthorized: usize,
    refused: usize,
}

impl std::ops::AddAssign for Counted {
    fn add_assign(&mut self, other: Counted) {
        self.good += other.good;
        self.unauthorized += other.unauthorized;
        self.refused += other.refused;
    }
}

/// Many connections that ask as fast as they are answered, or at a pace, for as long as one measurement.
async fn load(
    gateway: &Gateway,
    sources: impl Fn(usize) -> usize,
    pace: Option<Duration>,
    request: Arc<Request>,
) -> Counted {
    let end = Instant::now() + TIME;
    let connections: Vec<_> = (0..CONNECTIONS)
        .map(|number| {
            let (address, source, request) = (gateway.plain, sources(number), request.clone());
            tokio::spawn(async move {
                let mut counted = Counted::default();
                let mut stream = net::connect(source, address).await.expect("a connection");
                let (mut next, mut made) = (Instant::now(), 0);
                while next < end {
                    sleep_until(next.into()).await;
                    let bytes = request(number, made);
                    match timeout(net::PATIENCE, ask(&mut stream, &bytes)).await {
                        Ok(Ok(200)) => counted.good += 1,
                        Ok(Ok(401)) => counted.unauthorized += 1,
                        Ok(Ok(429)) => counted.refused += 1,
                        other => panic!("no answer: {other:?}"),
                    }
                    made += 1;
                    // What came late is not made up for.
                    next = pace.map_or_else(Instant::now, |pace| (next + pace).max(Instant::now()));
                }
                counted
            })
        })
        .collect();
    let mut all = Counted::default();
    for connection in connections {
        all += connection.await.expect("a connection");
    }
    all
}

/// Sends a request and reads the whole answer; its status.
async fn ask(stream: &mut TcpStream, request: &[u8]) -> io::Result<u16> {
    stream.write_all(request).await?;
    let (mut answer, mut piece) = (Vec::new(), [0; 4096]);
    loop {
        let count = stream.read(&mut piece).await?;
        if count == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        answer.extend_from_slice(&piece[..count]);
        let Some(end) = answer.windows(4).position(|four| four == b"\r\n\r\n") else { continue };
        let head = String::from_utf8_lossy(&answer[..end]).to_ascii_lowercase();
        let length = head.lines().find_map(|line| line.strip_prefix("content-length:"));
        let length: usize = length.map_or(0, |length| length.trim().parse().expect("a length"));
        if answer.len() >= end + 4 + length {
            return head[9..12].parse().map_err(io::Error::other);
        }
    }
}

/// An origin that says the same to everybody.
async fn origin() -> std::net::SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut asked, mut piece) = (Vec::new(), [0; 4096]);
                while let Ok(count @ 1..) = stream.read(&mut piece).await {
                    asked.extend_from_slice(&piece[..count]);
                    if asked.ends_with(b"\r\n\r\n") {
                        asked.clear();
                        let answer =
                            format!("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "x".repeat(100));
                        if stream.write_all(answer.as_bytes()).await.is_err() {
                            return;
                        }
                    }
                }
            });
        }
    });
    address
}

fn get(path: &str, token: &str) -> Vec<u8> {
    format!("GET {path} HTTP/1.1\r\nHost: gateway.test\r\nAuthorization: Bearer {token}\r\n\r\n").into_bytes()
}

fn claims(number: usize, expires: i64) -> serde_json::Value {
    let expires = i64::try_from(Signer::now()).expect("a time") + expires;
    json!({"iss": "i", "sub": format!("client-{number}"), "exp": expires})
}

/// The middle one.
fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

pub async fn run(binary: &Path, report: &mut Report) {
    let signer = Arc::new(Signer::new());
    let dir = tempfile::tempdir().expect("a directory");
    let keys = dir.path().join("keys.json");
    std::fs::write(&keys, json!({"keys": [signer.jwk("k")]}).to_string()).expect("a file");
    let keys = keys.display().to_string();
    let conf = CONF.replace("ORIGIN", &origin().await.to_string()).replace("KEYS", &keys);
    let gateway = Gateway::with(binary, conf.leak(), None);
    let good: Arc<Vec<String>> =
        Arc::new((0..CONNECTIONS).map(|number| signer.token("k", &claims(number, 3600))).collect());
    refusing(&gateway, &signer, &good, report).await;
    beside(&gateway, &good, report).await;
}

/// What it costs to refuse.
async fn refusing(gateway: &Gateway, signer: &Arc<Signer>, good: &Arc<Vec<String>>, report: &mut Report) {
    println!("credentials that are not good, of {CONNECTIONS} connections, without credential-guard");
    let expired: Vec<String> = (0..256).map(|number| signer.token("k", &claims(number, -3600))).collect();
    let unknown: Vec<String> = (0..256).map(|number| signer.token("other", &claims(number, 3600))).collect();
    let malformed: Vec<String> =
        (0..256).map(|number| format!("{}.{number}.no", good[number % CONNECTIONS])).collect();
    for (name, tokens) in [("malformed", malformed), ("expired", expired), ("unknown key", unknown)] {
        let mut shares = Vec::new();
        let (mut of_good, mut of_bad) = (Vec::new(), Vec::new());
        let tokens = Arc::new(tokens);
        for _ in 0..ROUNDS {
            let (own, bad) = (good.clone(), tokens.clone());
            let served =
                load(gateway, |number| number, None, Arc::new(move |number, _| get("/plain", &own[number])))
                    .await;
            let pick =
                move |number: usize, made: u64| get("/plain", &bad[(number * 7 + made as usize) % bad.len()]);
            let refused = load(gateway, |number| number, None, Arc::new(pick)).await;
            assert!(served.unauthorized == 0 && refused.good == 0, "{served:?} {refused:?}");
            shares.push(100.0 * refused.unauthorized as f64 / served.good as f64);
            of_good.push(served.good as f64 / TIME.as_secs_f64());
            of_bad.push(refused.unauthorized as f64 / TIME.as_secs_f64());
        }
        println!("  200s {:.0}/s, 401s {:.0}/s", median(of_good), median(of_bad));
        report.share(&format!("{name}: 401s, of as many 200s"), median(shares), 80.0);
    }
}

/// What others feel of bad signatures from one address.
async fn beside(gateway: &Gateway, good: &Arc<Vec<String>>, report: &mut Report) {
    let own = good.clone();
    let of = |path: &'static str| -> Arc<Request> {
        let own = own.clone();
        Arc::new(move |number, _| get(path, &own[number]))
    };
    let most = load(gateway, |number| number, None, of("/guarded")).await.good as f64 / TIME.as_secs_f64();
    let pace = Duration::from_secs_f64(CONNECTIONS as f64 / (most * LOAD));
    println!(
        "distinct bad signatures from one address, {CONNECTIONS} connections as fast as they are answered; others ask \
         {:.0} times a second, {:.0} % of the most",
        most * LOAD,
        100.0 * LOAD
    );
    for (path, guarded) in [("/plain", false), ("/guarded", true)] {
        let mut shares = Vec::new();
        for round in 0..ROUNDS {
            let alone = load(gateway, |number| number, Some(pace), of(path)).await;
            let message = good[0].rsplit_once('.').expect("a signature").0.to_owned();
            let forged = move |number: usize, made: u64| {
                // No two are the same.
                let mut signature = [0x55; 64];
                signature[..8].copy_from_slice(&made.to_be_bytes());
                signature[8] = number as u8;
                signature[9] = round as u8;
                get(path, &format!("{message}.{}", URL_SAFE_NO_PAD.encode(signature)))
            };
            let flood = load(gateway, |_| FLOOD, None, Arc::new(forged));
            let (kept, flood) = tokio::join!(load(gateway, |number| number, Some(pace), of(path)), flood);
            assert!(kept.unauthorized == 0 && kept.refused == 0 && flood.good == 0, "{kept:?} {flood:?}");
            shares.push(100.0 * kept.good as f64 / alone.good as f64);
            if round == 0 {
                println!("  the flood: {} verified, {} refused before", flood.unauthorized, flood.refused);
            }
        }
        let kept = median(shares);
        if guarded {
            report.share("with credential-guard: 200s that others keep", kept, 80.0);
        } else {
            println!("  without credential-guard others keep {kept:.1} % of their 200s");
        }
    }
}
