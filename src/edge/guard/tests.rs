use super::*;
use crate::{budget::Budget, conf::model::Limits, edge::framing::Chunks};
use palisade_contract::Client;
use std::net::IpAddr;
use tokio::io::{AsyncReadExt, DuplexStream, duplex};

fn guard(room: usize) -> (Guard, DuplexStream) {
    let (client, server) = duplex(room);
    let peer = ([127, 0, 0, 1], 1).into();
    let listener = "public".into();
    let (ip, tls) = (IpAddr::from([127, 0, 0, 1]), None);
    let proxies = Vec::new();
    let known = Client { ip, peer, https: false, behind_proxy: false, proxies, listener, port: 80, tls };
    let connection = ConnInfo::new(known, Arc::new(Limits::default()));
    (Guard::new(Box::new(server), Arc::new(connection)), client)
}

/// A guard whose head was taken, with this body to come.
fn with_body(framing: Framing) -> (Guard, DuplexStream) {
    let (guard, client) = guard(64 * 1024);
    assert!(guard.begin(0, framing).is_empty());
    (guard, client)
}

fn collector(limit: usize) -> Collector {
    Collector::new(Arc::new(Budget::default()).share(u64::MAX), limit, 2)
}

/// What Pingora does: writes and, at the end, a flush.
async fn send(guard: &mut Guard, bytes: &[u8]) -> io::Result<()> {
    guard.write_all(bytes).await?;
    guard.flush().await
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_nothing_is_let_go() {
    let (mut guard, _client) = guard(1024);
    guard.begin(0, Framing::Length(0));
    let begun = Instant::now();
    let error = send(&mut guard, &[0; 4096]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(40), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_client_that_takes_a_little_now_and_then_is_let_go() {
    let (mut guard, mut client) = guard(64);
    guard.begin(0, Framing::Length(0));
    let begun = Instant::now();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if client.read(&mut [0; 64]).await.unwrap_or(0) == 0 {
                return;
            }
        }
    };
    let write = async { send(&mut guard, &[0; 64 * 1024]).await.unwrap_err().kind() };
    let kind = tokio::select! { kind = write => kind, () = drip => unreachable!("the writer ends first") };
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_that_keeps_up_is_served() {
    let (mut guard, mut client) = guard(1024);
    guard.begin(0, Framing::Length(0));
    let read = async {
        let mut left = 200 * 1024;
        while left > 0 {
            tokio::time::sleep(Duration::from_millis(500)).await;
            left -= client.read(&mut [0; 1024]).await.unwrap();
        }
    };
    let (written, ()) = tokio::join!(send(&mut guard, &[0; 200 * 1024]), read);
    written.unwrap();
}

#[tokio::test(start_paused = true)]
async fn what_was_taken_long_ago_is_no_credit() {
    for http2 in [false, true] {
        // As much as the buffers of a system take for a client that reads nothing of it.
        let (mut guard, _client) = guard(1 << 20);
        guard.begin(0, Framing::Length(0));
        if http2 {
            guard.set_http2(100);
        }
        let begun = Instant::now();
        let error = send(&mut guard, &[0; 2 << 20]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() < Duration::from_secs(50), "{http2}: {:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_drip_is_not_enough_for_http2_either() {
    let (mut guard, mut client) = guard(64);
    guard.set_http2(100);
    let begun = Instant::now();
    let drip = async {
        loop {
            tokio::time::sleep(Duration::from_secs(5)).await;
            if client.read(&mut [0; 64]).await.unwrap_or(0) == 0 {
                return;
            }
        }
    };
    let write = async { send(&mut guard, &[0; 64 * 1024]).await.unwrap_err().kind() };
    let kind = tokio::select! { kind = write => kind, () = drip => unreachable!("the writer ends first") };
    assert_eq!(kind, io::ErrorKind::TimedOut);
    assert!(begun.elapsed() < Duration::from_secs(60), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_tunnel_may_be_silent_but_not_deaf() {
    let (mut guard, mut client) = guard(1024);
    guard.begin(0, Framing::Raw);
    send(&mut guard, b"HTTP/1.1 101 Switching Protocols\r\n\r\n").await.unwrap();
    client.read_exact(&mut [0; 36]).await.unwrap();
    for _ in 0..100 {
        tokio::time::sleep(Duration::from_secs(3600)).await;
        send(&mut guard, b"ping").await.unwrap();
        client.read_exact(&mut [0; 4]).await.unwrap();
    }
    let error = send(&mut guard, &[0; 4096]).await.unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::TimedOut);
}

#[tokio::test(start_paused = true)]
async fn a_body_has_a_least_rate_besides_its_deadline() {
    for (rate, served) in [(100, false), (2000, true)] {
        let (guard, mut client) = with_body(Framing::Length(40_000));
        guard.set_body_limit(1 << 20, Duration::from_secs(3600));
        let begun = Instant::now();
        let drip = async {
            for _ in 0..40_000 / rate {
                tokio::time::sleep(Duration::from_secs(1)).await;
                if client.write_all(&vec![b'x'; rate]).await.is_err() {
                    return;
                }
            }
            std::future::pending().await
        };
        let read = tokio::select! { read = guard.read_ahead(collector(1 << 20)) => read, () = drip => unreachable!() };
        assert_eq!(read.map(|(body, _)| body.len()), if served { Ok(40_000) } else { Err(Ahead::Timeout) });
        assert!(begun.elapsed() < Duration::from_secs(25), "{:?}", begun.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_has_a_deadline_however_fast_it_comes() {
    for ahead in [false, true] {
        let (mut guard, mut client) = with_body(Framing::Length(1 << 20));
        guard.set_body_limit(1 << 20, Duration::from_secs(30));
        let begun = Instant::now();
        let drip = async {
            while client.write_all(&[b'x'; 4096]).await.is_ok() {
                tokio::time::sleep(Duration::from_secs(1)).await;
            }
            std::future::pending().await
        };
        let read = async {
            if ahead {
                return guard.read_ahead(collector(1 << 20)).await.map(drop) == Err(Ahead::Timeout);
            }
            guard.read_exact(&mut vec![0; 1 << 20]).await.unwrap_err();
            guard.violation().is_some_and(|refusal| refusal.reason == "body_timeout")
        };
        let late = tokio::select! { late = read => late, () = drip => unreachable!() };
        assert!(late, "{ahead}");
        assert_eq!(begun.elapsed().as_secs(), 30, "{ahead}");
    }
}

#[tokio::test(start_paused = true)]
async fn time_that_we_take_is_not_the_clients() {
    let (mut guard, mut client) = with_body(Framing::Length(4));
    guard.set_body_limit(1 << 20, Duration::from_secs(3600));
    let mut piece = [0; 2];
    for bytes in [b"ab", b"cd"] {
        // The origin has us wait; the client does not.
        tokio::time::sleep(Duration::from_secs(600)).await;
        client.write_all(bytes).await.unwrap();
        guard.read_exact(&mut piece).await.unwrap();
        assert_eq!(&piece, bytes);
    }
}

#[tokio::test]
async fn only_a_101_makes_a_tunnel() {
    for (answers, tunnel) in [
        (&["HTTP/1.1 101 Switching Protocols\r\n\r\n"][..], true),
        (&["HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n\r\n"], true),
        (&["HTTP/1.1 200 OK\r\n\r\n"], false),
        (&["HTTP/1.1 200 OK\r\n\r\n", "HTTP/1.1 101 of the body"], false),
        (&["HTTP/1.1 403 Forbidden\r\n\r\n"], false),
    ] {
        let (mut guard, mut client) = with_body(Framing::Raw);
        client.write_all(b"early").await.unwrap();
        let mut piece = [0; 5];
        let early = futures::poll!(std::pin::pin!(guard.clone().read_exact(&mut piece)));
        assert!(early.is_pending(), "nothing is shown before the answer");
        for answer in answers {
            guard.write_all(answer.as_bytes()).await.unwrap();
        }
        let read = futures::poll!(std::pin::pin!(guard.read_exact(&mut piece)));
        assert_eq!(read.is_ready(), tunnel, "{answers:?}");
        assert_eq!(guard.next_request(), !tunnel, "{answers:?}");
        assert_eq!(guard.peek(|buffer| buffer.to_vec()), if tunnel { &b""[..] } else { b"early" });
    }
}

#[tokio::test(start_paused = true)]
async fn who_has_sent_all_and_closes_while_the_origin_is_connected_to_is_believed_for_a_while() {
    for (framing, sent, waits) in [
        (Framing::Length(0), "", true),
        (Framing::Length(4), "body", true),
        (Framing::Length(4), "bod", false),
        (Framing::Length(4), "bodyGET / HTTP/1.1", true),
        (Framing::Chunked(Chunks::default()), "4\r\nbody\r\n0\r\n\r\n", true),
        (Framing::Chunked(Chunks::default()), "4\r\nbody\r\n", false),
        (Framing::Chunked(Chunks::default()), "nothing", false),
    ] {
        let (mut guard, mut client) = with_body(framing);
        guard.set_connecting(true);
        client.write_all(sent.as_bytes()).await.unwrap();
        client.shutdown().await.unwrap();
        let begun = Instant::now();
        poll_fn(|cx| guard.poll_left(cx)).await;
        let waited = begun.elapsed().as_millis();
        assert_eq!(waited, if waits { HALF_CLOSED.as_millis() } else { 0 }, "{sent}");
        if waits && !sent.is_empty() {
            let mut body = Vec::new();
            guard.read_to_end(&mut body).await.unwrap();
            assert_eq!(body, sent.as_bytes().get(..sent.len().min(body.len())).unwrap());
            assert!(body.starts_with(b"body") || body.starts_with(b"4\r\nbody"), "{sent}");
        }
    }
}

#[tokio::test]
async fn what_is_read_ahead_is_read_again_and_takes_no_more_than_its_share() {
    // A chunk for each byte, which takes six times as much on its way, and half of that with the head.
    let tiny = |count: usize| "1\r\nx\r\n".repeat(count);
    for (framing, sent, content, again) in [
        (Framing::Length(4), "bodyGET /".to_owned(), "body".to_owned(), "body".to_owned()),
        (
            Framing::Chunked(Chunks::default()),
            format!("{}0\r\na: b\r\n\r\nGET /", tiny(3000)),
            "x".repeat(3000),
            format!("bb8\r\n{}\r\n0\r\n\r\n", "x".repeat(3000)),
        ),
        (Framing::Chunked(Chunks::default()), "0\r\n\r\nGET /".into(), String::new(), "0\r\n\r\n".into()),
    ] {
        let (mut guard, mut client) = with_body(framing);
        guard.set_body_limit(4000, Duration::from_secs(60));
        client.write_all(sent.as_bytes()).await.unwrap();
        let budget = Arc::new(Budget::default());
        let (body, share) = guard.read_ahead(Collector::new(budget.share(8000), 4000, 2)).await.unwrap();
        assert_eq!(body, content.as_bytes());
        let kept = guard.peek(|buffer| buffer.len());
        assert!(body.len() * 2 <= share.bytes() && kept <= body.len() + 32, "{kept} {}", share.bytes());
        assert!(guard.has_whole_body());
        let mut read = Vec::new();
        while read.len() < again.len() {
            guard.read_buf(&mut read).await.unwrap();
        }
        assert_eq!(read, again.as_bytes());
        assert!(guard.next_request());
        assert_eq!(guard.peek(|buffer| buffer.to_vec()), b"GET /");
    }
    for (limit, most, why) in [(999, 8000, Ahead::TooLarge), (4000, 1000, Ahead::Full)] {
        let (guard, mut client) = with_body(Framing::Chunked(Chunks::default()));
        client.write_all(format!("{}0\r\n\r\n", tiny(1000)).as_bytes()).await.unwrap();
        let budget = Arc::new(Budget::default());
        let read = guard.read_ahead(Collector::new(budget.share(most), limit, 2)).await;
        assert_eq!((read.map(drop), budget.used()), (Err(why), 0));
        assert!(!guard.next_request());
    }
}
