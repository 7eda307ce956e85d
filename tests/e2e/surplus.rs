//! Origins that say more than they were asked for: interim answers without end, a 101, and bytes after the answer.

use crate::{
    client::head,
    faults::{SLOW, TOTAL, faulty, good},
    h2c::Stream,
    harness::until,
    http2::block_on,
};
use std::time::Instant;

#[test]
fn flood_of_interim_answers() {
    for interim in ["HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"] {
        let flood = interim.repeat(100);
        let (_origin, gateway) = faulty(move |request| {
            while request.send(&flood) {}
            false
        });
        let mut other = gateway.connect();
        good(&mut other, "/before");
        let begun = Instant::now();
        let mut client = gateway.connect();
        client.send(head("GET", "/fault", &[]));
        let answer = loop {
            let answer = client.response();
            if answer.status >= 200 {
                break answer;
            }
        };
        assert!(matches!(answer.status, 502 | 504), "{}", answer.status);
        answer.reason();
        assert!(begun.elapsed() < TOTAL + SLOW, "{:?}", begun.elapsed());
        good(&mut other, "/after");
        block_on(async {
            let mut stream = Stream::open(gateway.at("listener h2"), "/fault", None).await;
            let outcome = stream.outcome().await;
            assert!(!matches!(outcome, Ok(status) if status < 500), "{outcome:?}");
        });
        good(&mut other, "/after");
    }
}

#[test]
fn unrequested_101() {
    let (_origin, gateway) = faulty(|request| {
        request.send("HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello")
            && request.wait_for_close()
    });
    let mut other = gateway.connect();
    for _ in 0..2 {
        assert_eq!(gateway.get("/fault").expect(502).reason(), "upstream_unrequested_upgrade");
        good(&mut other, "/after");
    }
    block_on(async {
        let mut stream = Stream::open(gateway.at("listener h2"), "/fault", None).await;
        assert_eq!(stream.outcome().await, Ok(502));
    });
    good(&mut other, "/after");
}

const EVIL: &str = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil";
const ANSWERS: [&str; 4] = [
    "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    "HTTP/1.1 204 No Content\r\n\r\n",
    "HTTP/1.1 304 Not Modified\r\n\r\n",
];

#[test]
fn bytes_after_the_answer() {
    for first in ANSWERS {
        let (_origin, gateway) = faulty(move |request| {
            request.send(format!("{first}{}", EVIL.repeat(20))) && request.wait_for_close()
        });
        let mut client = gateway.connect();
        let mut other = gateway.connect();
        for _ in 0..10 {
            let answer = client.request("GET", "/fault", &[]);
            assert!(answer.status < 400 && answer.text() != "evil", "{answer:?}");
            good(&mut other, "/other");
            good(&mut gateway.connect(), "/new");
        }
    }
}

#[test]
fn bytes_after_the_answer_on_a_connection_that_waits() {
    for first in ANSWERS {
        let (go, told) = std::sync::mpsc::channel::<()>();
        let told = std::sync::Mutex::new(told);
        let (origin, gateway) = faulty(move |request| {
            let sent = request.send(first);
            told.lock().unwrap().recv().unwrap();
            sent && request.send(EVIL) && request.wait_for_close()
        });
        // One client: when its next request is read, the connection of the last one is in the pool again.
        let mut client = gateway.connect();
        for number in 1..4 {
            client.request("GET", "/fault", &[]);
            go.send(()).unwrap();
            // Nobody has asked for that: the connection is no good any more.
            until("the connection to be closed", || (origin.closed() == number).then_some(()));
            good(&mut client, "/after");
            good(&mut client, "/again");
            assert_eq!(origin.opened(), number + 1);
            // The next fault is asked for on the one that these two have used.
        }
    }
}
