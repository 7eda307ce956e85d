//! Where records go besides a file of their own, and what is lost where nothing takes them.

use crate::{
    client::head,
    harness::{Gateway, PATIENCE, until},
    issuers::Issuer,
    tls::certificate,
};
use serde_json::Value;
use std::{
    fs,
    io::{Read, Write},
    net::{TcpStream, UdpSocket},
    time::Duration,
};

fn conf(audit: &str) -> String {
    format!(
        "
plugins: {{'audit#more': {{{audit}}}}}
routes: {{any: {{paths: [/*], plugins: {{request-termination: {{status_code: 204}}}}}}}}
"
    )
}

#[test]
fn standard_output_has_a_line_for_each_request() {
    let gateway = Gateway::start(&conf("stdout: true"));
    for count in 0..3 {
        gateway.get(&format!("/{count}")).expect(204);
    }
    // The log goes to standard error: here both are one file.
    let records = until("the lines", || {
        let log = gateway.log();
        let records: Vec<Value> = log.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        (records.len() >= 3).then_some(records)
    });
    let mut paths: Vec<_> = records.iter().map(|record| record["path"].as_str().unwrap()).collect();
    // An answer comes before its line: two may change places.
    paths.sort_unstable();
    assert_eq!(paths, ["/0", "/1", "/2"]);
    assert!(records.iter().all(|record| record["status"] == 204));
}

#[test]
fn a_collector_gets_messages_as_the_configuration_says() {
    let collector = UdpSocket::bind("127.0.0.1:0").unwrap();
    collector.set_read_timeout(Some(PATIENCE)).unwrap();
    let to = collector.local_addr().unwrap();
    let gateway = Gateway::start(&conf(&format!(
        "syslog: {{to: 'udp:{to}', facility: 13, app_name: front-door, hostname: edge-1.test}}"
    )));
    gateway.get("/one").expect(204);
    let mut bytes = [0; 10_000];
    let count = collector.recv(&mut bytes).unwrap();
    let message = str::from_utf8(&bytes[..count]).unwrap();
    // RFC 5424: priority and version, time, host, application, process, id, data, message.
    let parts: Vec<&str> = message.splitn(8, ' ').collect();
    assert_eq!(parts[0], "<110>1", "facility 13, severity 6: {message}");
    assert!(parts[1].ends_with('Z') && parts[1].contains('T'), "{message}");
    assert_eq!(parts[2..4], ["edge-1.test", "front-door"], "{message}");
    let record: Value = serde_json::from_str(parts[7].trim_start_matches('\u{feff}').trim()).unwrap();
    assert_eq!((&record["path"], &record["status"]), (&"/one".into(), &204.into()));
}

#[test]
fn a_collector_over_http_must_prove_who_it_is_and_be_quick() {
    let (own, stranger) = (certificate("127.0.0.1"), certificate("127.0.0.1"));
    let collector = Issuer::start_tls(&own);
    let start = |more: &str| {
        let url = format!("{}/records", collector.name());
        let prepared = Gateway::prepare(&conf(&format!(
            "http: {{url: '{url}', headers: {{authorization: Bearer x}}, {more}}}, fields: {{include: [path]}}"
        )));
        prepared.write("certs/own.pem", &own.cert.pem());
        prepared.write("certs/stranger.pem", &stranger.cert.pem());
        prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref())
    };
    let gateway = start("ca: certs/own.pem");
    gateway.get("/one").expect(204);
    let asked = until("the record", || collector.asked().first().cloned());
    assert!(asked.starts_with("post /records") && asked.ends_with("{\"path\":\"/one\"}\n"), "{asked}");
    assert!(asked.contains("\r\nauthorization: bearer x\r\n"), "{asked}");
    drop(gateway);
    let before = collector.calls();
    for more in ["ca: certs/stranger.pem", "timeout: 5s"] {
        let gateway = start(more);
        gateway.get("/two").expect(204);
        gateway.wait_for_log("cannot be written", 1);
        assert_eq!(collector.calls(), before, "{more}: it was told over such a connection");
    }
    collector.falls_silent();
    let gateway = start("ca: certs/own.pem, timeout: 100ms");
    gateway.get("/three").expect(204);
    gateway.wait_for_log("no answer in time", 1);
}

#[test]
fn what_blocks_holds_requests_until_their_records_can_be_written() {
    let gateway = Gateway::start(&conf("file: log/held.jsonl, on_full: block, flush: 1ms"));
    let log = gateway.state().join("log");
    let written = || fs::read_to_string(log.join("held.jsonl")).unwrap_or_default().lines().count();
    gateway.get("/").expect(204);
    until("the first record", || (written() == 1).then_some(()));
    fs::remove_dir_all(&log).unwrap();
    // Those that were admitted before it was known have their record coming.
    let mut answered = 0;
    let mut held = until("a request that is not answered", || {
        let mut stream = TcpStream::connect(gateway.address()).unwrap();
        stream.write_all(head("GET", "/", &[]).as_bytes()).unwrap();
        stream.set_read_timeout(Some(Duration::from_millis(300))).unwrap();
        match stream.read(&mut [0; 1000]) {
            Ok(count) => {
                assert!(count > 0, "closed without an answer");
                answered += 1;
                None
            }
            Err(_) => Some(stream),
        }
    });
    fs::create_dir(&log).unwrap();
    held.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut bytes = [0; 1000];
    let count = held.read(&mut bytes).unwrap();
    assert!(bytes[..count].starts_with(b"HTTP/1.1 204"));
    until("all records", || (written() == answered + 1).then_some(()));
}

#[test]
fn what_cannot_be_written_at_the_end_is_counted_in_the_log() {
    const REQUESTS: usize = 17;
    let mut gateway = Gateway::start(&conf("file: /dev/full"));
    for _ in 0..REQUESTS {
        gateway.get("/").expect(204);
    }
    gateway.audit(REQUESTS);
    gateway.terminate();
    assert!(gateway.wait().success());
    let log = gateway.log();
    let expected = format!("{REQUESTS} lines of the access record in `/dev/full` were lost");
    assert!(log.contains(&expected), "{log}");
}
