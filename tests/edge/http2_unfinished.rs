//! HTTP/2 requests of whose body nothing has come: how far they get, and what they may take.

use crate::{
    frames::{PREFACE, frame, frames},
    http2_limits::sent,
    support::{Client, Edge, eventually, limits, received},
};
use palisade::conf::model::Limits;
use std::time::Duration;

const HEADERS: u8 = 1;
const RST_STREAM: u8 = 3;
const END_STREAM: u8 = 1;
const END_HEADERS: u8 = 4;

/// A field that is not put into the table.
fn field(name: &str, value: &str) -> Vec<u8> {
    let (name_length, length) = (u8::try_from(name.len()).unwrap(), u8::try_from(value.len()).unwrap());
    [&[0, name_length], name.as_bytes(), &[length], value.as_bytes()].concat()
}

/// The fields of `POST` of a path, with so many more of one byte each.
fn post(path: &str, fields: usize) -> Vec<u8> {
    let path = [&[0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
    [&[0x83, 0x86][..], &path, &[0x01, 1], b"a", &[0x90].repeat(fields)].concat()
}

fn begun(stream: u32, head: &[u8]) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, head)
}

/// Streams that were refused so that they may be tried again.
fn refused(bytes: &[u8]) -> usize {
    let resets = frames(bytes);
    resets.iter().filter(|(kind, _, _, why)| *kind == RST_STREAM && why[..] == [0, 0, 0, 7]).count()
}

/// Responses that have ended.
fn answered(bytes: &[u8]) -> usize {
    frames(bytes).iter().filter(|(kind, flags, ..)| *kind <= HEADERS && flags & END_STREAM != 0).count()
}

async fn with(header_timeout: Duration) -> (Edge, Client) {
    let edge = Edge::with(Limits { header_timeout, ..limits() }, true, None).await;
    let client = edge.client().await;
    (edge, client)
}

#[tokio::test(flavor = "multi_thread")]
async fn heads_of_many_small_fields_are_not_held_for_bodies_that_do_not_come() {
    let (edge, mut client) = with(Duration::from_secs(60)).await;
    let heads: Vec<u8> = (0..100).flat_map(|number| begun(2 * number + 1, &post("/a", 90))).collect();
    client.send([PREFACE, &heads].concat()).await;
    // One may be as large as the limits let it be, and what was sent pays for two or three more.
    sent(&mut client, |bytes| refused(bytes) >= 95).await;
    assert_eq!(edge.origin.requests(), 0);
    assert!(edge.refused().iter().all(|reason| *reason == "http2_fields"));
    // The connection goes on.
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 201, &post("/a", 0))).await;
    sent(&mut client, |bytes| answered(bytes) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_browser_may_ask_for_a_hundred_things_at_once() {
    let (edge, mut client) = with(Duration::from_secs(60)).await;
    let cookie = "c".repeat(120);
    let more: Vec<u8> = (0..16).flat_map(|number| field(&format!("x-field-{number}"), &cookie)).collect();
    let get = |number: u32| {
        let path = format!("/things/{number}");
        let path = [&[0x04, u8::try_from(path.len()).unwrap()], path.as_bytes()].concat();
        let head = [&[0x82, 0x86][..], &path, &[0x01, 1], b"a", &more].concat();
        assert!((1500..3000).contains(&head.len()));
        frame(HEADERS, END_HEADERS | END_STREAM, 2 * number + 1, &head)
    };
    client.send([PREFACE, &(0..100).flat_map(get).collect::<Vec<u8>>()].concat()).await;
    let all = sent(&mut client, |bytes| answered(bytes) == 100).await;
    assert_eq!((refused(&all), edge.origin.requests()), (0, 100));
    // The same as uploads, whose bodies come only after all heads.
    let post =
        |number: u32| begun(2 * number + 201, &[&post("/a", 0)[..], &field("x-upload", &cookie)].concat());
    let end = |number: u32| frame(0, END_STREAM, 2 * number + 201, b"body");
    let uploads = (0..100).flat_map(post).chain((0..100).flat_map(end));
    client.send(uploads.collect::<Vec<u8>>()).await;
    let all = sent(&mut client, |bytes| answered(bytes) == 100).await;
    assert_eq!((refused(&all), edge.origin.requests()), (0, 200));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_goes_no_further_until_its_body_begins() {
    let (edge, mut client) = with(Duration::from_secs(60)).await;
    client.send([PREFACE, &begun(1, &post("/a", 0)), &frame(0, 0, 1, b"")].concat()).await;
    client.send(frame(HEADERS, END_HEADERS | END_STREAM, 3, &post("/b", 0))).await;
    sent(&mut client, |bytes| answered(bytes) == 1).await;
    assert_eq!(edge.origin.requests(), 1);
    client.send(frame(0, 0, 1, b"first ")).await;
    eventually("the request at the origin", || edge.origin.requests() == 2).await;
    client.send(frame(0, END_STREAM, 1, b"second")).await;
    let all = sent(&mut client, |bytes| answered(bytes) == 1).await;
    let body: Vec<u8> =
        frames(&all).iter().filter(|(kind, ..)| *kind == 0).flat_map(|one| one.3.to_vec()).collect();
    assert_eq!(String::from_utf8(body).unwrap(), received("POST", "/a", b"first second"));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_does_not_begin_is_waited_for_no_longer_than_a_head() {
    let (edge, mut client) = with(Duration::from_millis(300)).await;
    client.send([PREFACE, &begun(1, &post("/a", 0))].concat()).await;
    eventually("the request at the origin", || edge.origin.requests() == 1).await;
    client.send(frame(0, END_STREAM, 1, b"late")).await;
    sent(&mut client, |bytes| answered(bytes) == 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_for_a_word_before_its_body_is_served_at_once() {
    let (edge, mut client) = with(Duration::from_secs(60)).await;
    let expects = [post("/a", 0), field("expect", "100-continue")].concat();
    let grpc = [post("/a", 0), field("content-type", "application/grpc+proto")].concat();
    let heads: Vec<u8> = (0..9)
        .flat_map(|number| begun(2 * number + 1, if number % 2 == 0 { &expects } else { &grpc }))
        .collect();
    client.send([PREFACE, &heads].concat()).await;
    // Eight of a connection; the ninth has a moment to begin by itself.
    eventually("all nine at the origin", || edge.origin.requests() == 9).await;
    let ends: Vec<u8> = (0..9).flat_map(|number| frame(0, END_STREAM, 2 * number + 1, b"x")).collect();
    client.send(ends).await;
    sent(&mut client, |bytes| answered(bytes) == 9).await;
}
