//! What an HTTP/2 connection may hold, and for how long.

use crate::{
    frames::{ENHANCE_YOUR_CALM, PREFACE, frame, frames, goaway, request},
    support::{Client, Edge, PATIENCE, Tuning, eventually, limits},
};
use palisade::{conf::model::Limits, edge::connection::Bounds};
use std::time::{Duration, Instant};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    time::timeout,
};

/// So long that nothing ends by itself.
const HOUR: Duration = Duration::from_secs(3600);
const END_STREAM_AND_HEADERS: u8 = 0x5;
const RST_STREAM: u8 = 3;
const GOAWAY: u8 = 7;

/// `GET` of a path, with so many more fields of one byte each.
fn get(path: &str, fields: usize) -> Vec<u8> {
    let path = [&[0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    [&[0x82, 0x86][..], &path, &[0x01, 1], b"a", &[0x90].repeat(fields)].concat()
}

/// What the server has sent, once it has sent nothing for a moment.
pub async fn sent(client: &mut Client, enough: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut bytes = Vec::new();
    let read = async {
        while !enough(&bytes) {
            if client.0.read_buf(&mut bytes).await.unwrap_or(0) == 0 {
                break;
            }
        }
    };
    timeout(PATIENCE, read).await.expect("what is waited for");
    bytes
}

#[tokio::test(flavor = "multi_thread")]
async fn what_does_not_begin_or_end_in_time_is_closed() {
    let time = Duration::from_millis(400);
    let settings = frame(4, 0, 0, &[]);
    for (name, wire, refused) in [
        ("half a preface", PREFACE[..10].to_vec(), true),
        ("no request", PREFACE.to_vec(), false),
        ("half a frame's header", [PREFACE, &settings[..5]].concat(), true),
        ("half a head", [PREFACE, &frame(1, 0x5, 1, &request())[..12]].concat(), true),
        ("a head without an end", [PREFACE, &frame(1, 0x1, 1, &request())].concat(), true),
        ("half a settings frame", [PREFACE, &frame(4, 0, 0, &[0; 6])[..11]].concat(), true),
    ] {
        let edge = Edge::with(Limits { header_timeout: time, ..limits() }, true, None).await;
        let mut client = edge.client().await;
        client.send(&wire).await;
        let begun = Instant::now();
        let all = client.rest().await;
        if name == "no request" {
            assert_eq!(goaway(&all), Some(0), "an orderly end");
        }
        assert!(begun.elapsed() < Duration::from_secs(25), "{name}: {:?}", begun.elapsed());
        eventually("an empty registry", || edge.registry.live() == 0).await;
        let reasons = edge.refused();
        // Where it is idle besides, that time may be over first.
        assert!(reasons.is_empty() || (refused && reasons == ["header_timeout"]), "{name}: {reasons:?}");
        assert_eq!(edge.client().await.get("/a").await.status, 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_ends_the_connection_while_other_streams_are_active() {
    let limits = Limits { header_timeout: Duration::from_millis(300), ..limits() };
    let edge = Edge::with(limits, true, None).await;
    let mut client = edge.client().await;
    client.send([PREFACE, &frame(1, END_STREAM_AND_HEADERS, 1, &get("/wait", 0))].concat()).await;
    eventually("the request at the origin", || edge.origin.requests() == 1).await;
    client.send(&frame(1, 0x5, 3, &request())[..12]).await;
    assert_eq!(goaway(&client.rest().await), Some(ENHANCE_YOUR_CALM));
    assert_eq!(edge.refused(), ["header_timeout"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_head_is_answered_before_the_connection_ends() {
    for (name, wire) in [
        ("a frame that does not end", frame(1, 0x5, 1, &request())[..12].to_vec()),
        ("a block that does not end", frame(1, 0x1, 1, &request())),
    ] {
        let limits = Limits { header_timeout: Duration::from_millis(300), ..limits() };
        let edge = Edge::with(limits, true, None).await;
        let mut client = edge.client().await;
        client.send([PREFACE, &wire].concat()).await;
        let all = client.rest().await;
        let on_stream: Vec<_> = frames(&all).into_iter().filter(|(_, _, stream, _)| *stream == 1).collect();
        let [(1, 0x4, _, head), (0, 0x1, _, body)] = on_stream[..] else { panic!("{name}: {on_stream:?}") };
        assert!(head.starts_with(b"\0\x07:status\x03408"), "{name}: {head:?}");
        assert!(String::from_utf8_lossy(body).contains("header_timeout"), "{name}");
        assert!(goaway(&all).is_some(), "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_has_said_nothing_makes_room() {
    let edge = Edge::with(Limits { connections: 1, header_timeout: HOUR, ..limits() }, true, None).await;
    for wire in [&PREFACE[..24], PREFACE] {
        let mut silent = edge.client().await;
        silent.send(wire).await;
        eventually("the silent connection", || edge.registry.stats().idle == 1).await;
        assert_eq!(edge.client().await.get("/a").await.status, 200);
        silent.rest().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_http2_connection_ends_after_so_many_requests() {
    let bounds = Bounds { requests: 3, ..Bounds::default() };
    let limits = Limits { idle_timeout: HOUR, ..limits() };
    let edge = Edge::tuned(limits, true, None, Tuning { bounds, ..Tuning::default() }).await;
    let mut client = edge.client().await;
    let requests = [1, 3, 5].map(|stream| frame(1, END_STREAM_AND_HEADERS, stream, &get("/a", 0))).concat();
    client.send([PREFACE, &requests].concat()).await;
    let all = sent(&mut client, |bytes| {
        let ended = frames(bytes).iter().filter(|(kind, flags, ..)| *kind <= 1 && flags & 1 != 0).count();
        ended == 3 && goaway(bytes).is_some()
    })
    .await;
    assert_eq!(goaway(&all), Some(0), "an orderly end");
    client.rest().await;
    assert_eq!(edge.origin.requests(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_have_so_many_fields_together() {
    let edge = Edge::with(limits(), true, None).await;
    let mut client = edge.client().await;
    let requests: Vec<u8> = (0..100)
        .flat_map(|number| frame(1, END_STREAM_AND_HEADERS, 2 * number + 1, &get("/wait", 49)))
        .collect();
    client.send([PREFACE, &requests].concat()).await;
    // 51 of 49 fields are 2499: the rest is refused, and may be tried again.
    let refused = |bytes: &[u8]| {
        let resets = frames(bytes);
        resets.iter().filter(|(kind, _, _, why)| *kind == RST_STREAM && why[..] == [0, 0, 0, 7]).count()
    };
    let all = sent(&mut client, |bytes| refused(bytes) == 49).await;
    assert!(frames(&all).iter().all(|(kind, ..)| *kind != GOAWAY));
    eventually("the others at the origin", || edge.origin.requests() == 51).await;
    assert_eq!(edge.refused(), vec!["http2_fields"; 49]);
    edge.origin.release();
    // What has ended makes room.
    eventually("an answer to all", || edge.registry.stats().idle == 1).await;
    client.send(frame(1, END_STREAM_AND_HEADERS, 201, &get("/a", 49))).await;
    eventually("another request", || edge.origin.requests() == 52).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_takes_nothing_ends() {
    let bounds = Bounds { stalled: Duration::from_millis(300), ..Bounds::default() };
    let edge = Edge::tuned(limits(), true, None, Tuning { bounds, ..Tuning::default() }).await;
    let mut client = edge.client().await;
    // SETTINGS_INITIAL_WINDOW_SIZE is 0: nothing of a body may be sent.
    let settings = frame(4, 0, 0, &[0, 4, 0, 0, 0, 0]);
    let large = frame(1, END_STREAM_AND_HEADERS, 1, &get("/large", 0));
    client.send([&PREFACE[..24], &settings, &large].concat()).await;
    let all = sent(&mut client, |bytes| {
        frames(bytes).iter().any(|(kind, _, stream, _)| *kind == RST_STREAM && *stream == 1)
    })
    .await;
    assert!(frames(&all).iter().all(|(kind, _, _, payload)| *kind != 0 || payload.is_empty()));
    eventually("the stream's end", || edge.registry.stats().idle == 1).await;
}

/// What the first SETTINGS of the server say.
fn settings(bytes: &[u8]) -> Vec<(u16, u32)> {
    let all = frames(bytes);
    let (_, _, _, payload) = all.iter().find(|(kind, flags, ..)| *kind == 4 && flags & 1 == 0).unwrap();
    let one = |one: &[u8]| {
        let [a, b, c, d, e, f] = one.try_into().unwrap();
        (u16::from_be_bytes([a, b]), u32::from_be_bytes([c, d, e, f]))
    };
    payload.chunks(6).map(one).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn clients_are_told_how_many_streams_and_how_large_heads_may_be() {
    const MAX_CONCURRENT_STREAMS: u16 = 3;
    const MAX_HEADER_LIST_SIZE: u16 = 6;
    let edge = Edge::with(Limits { header_bytes: 5000, ..limits() }, true, None).await;
    let mut client = edge.client().await;
    client.send(PREFACE).await;
    let all = sent(&mut client, |bytes| frames(bytes).iter().any(|(kind, ..)| *kind == 4)).await;
    let told = settings(&all);
    for one in [(MAX_CONCURRENT_STREAMS, 100), (MAX_HEADER_LIST_SIZE, 5000)] {
        assert!(told.contains(&one), "{one:?}: {told:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_has_a_hundred_streams_at_once() {
    let edge = Edge::with(limits(), true, None).await;
    let mut client = edge.client().await;
    let stream = |number: u32| frame(1, END_STREAM_AND_HEADERS, 2 * number + 1, &get("/wait", 0));
    client.send([PREFACE, &(0..100).flat_map(stream).collect::<Vec<u8>>()].concat()).await;
    eventually("a hundred requests", || edge.origin.requests() == 100).await;
    client.send(stream(100)).await;
    let all = sent(&mut client, |bytes| frames(bytes).iter().any(|(kind, ..)| *kind == RST_STREAM)).await;
    let refused: Vec<_> = frames(&all).into_iter().filter(|(kind, ..)| *kind == RST_STREAM).collect();
    assert!(matches!(refused[..], [(_, _, 201, [0, 0, 0, 7])]), "{refused:?}");
    edge.origin.release();
    eventually("an answer to all", || edge.registry.stats().idle == 1).await;
    assert_eq!(edge.origin.requests(), 100);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_connection_is_told_before_it_is_closed() {
    let edge = Edge::with(Limits { idle_timeout: Duration::from_millis(300), ..limits() }, true, None).await;
    let mut client = edge.client().await;
    client.send([PREFACE, &frame(1, END_STREAM_AND_HEADERS, 1, &get("/a", 0))].concat()).await;
    let all = client.rest().await;
    assert_eq!((goaway(&all), edge.origin.requests()), (Some(0), 1));
}

/// Requests that nothing is forwarded of: a client that has many of them has nothing else to say.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_may_have_so_many_malformed_requests() {
    let edge = Edge::with(limits(), true, None).await;
    let mut client = edge.client().await;
    client.send(PREFACE).await;
    let malformed = [&get("/a", 0)[..], &[0x00, 4], b"host", &[1], b"b"].concat();
    // It may be closed before all of it is sent.
    for number in 0..40 {
        let _ = client.0.write_all(&frame(1, END_STREAM_AND_HEADERS, 2 * number + 1, &malformed)).await;
    }
    let all = client.rest().await;
    let answered = frames(&all).iter().filter(|(kind, ..)| *kind == 1).count();
    assert!(answered <= 33, "{answered}");
    assert_eq!(edge.origin.requests(), 0);
    eventually("an empty registry", || edge.registry.live() == 0).await;
}
