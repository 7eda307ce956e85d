//! Floods of HTTP/2 frames end early, and cost nobody else anything.

use crate::{
    frames::{ENHANCE_YOUR_CALM, PREFACE, frame, goaway, request},
    support::{Edge, eventually, limits},
};
use palisade::conf::model::Limits;
use tokio::io::AsyncWriteExt;

/// Sends a flood: why the connection was closed, and what was noted of it.
async fn flood(edge: &Edge, flood: &[u8]) -> (Option<u8>, Vec<&'static str>) {
    let mut client = edge.client().await;
    client.send(PREFACE).await;
    // It may be closed before all of it is sent.
    let _ = client.0.write_all(flood).await;
    let ended = goaway(&client.rest().await);
    eventually("an empty registry", || edge.registry.live() == 0).await;
    (ended, edge.refused())
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_control_frames_are_cut_short() {
    for (name, one, reason) in [
        ("ping", frame(6, 0, 0, &[0; 8]), "http2_control_frames"),
        ("settings", frame(4, 0, 0, &[]), "http2_control_frames"),
        ("priority", frame(2, 0, 1, &[0, 0, 0, 0, 1]), "http2_control_frames"),
        ("unknown", frame(0x42, 0, 0, b"x"), "http2_control_frames"),
        ("window update", frame(8, 0, 0, &[0, 0, 0, 1]), "http2_window_updates"),
    ] {
        let edge = Edge::with(limits(), true, None).await;
        let (ended, refused) = flood(&edge, &one.repeat(4000)).await;
        assert_eq!((ended, refused), (Some(ENHANCE_YOUR_CALM), vec![reason]), "{name}");
        assert_eq!(edge.client().await.get("/a").await.status, 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_on_a_stream_are_cut_short() {
    let open = frame(1, 0x4, 1, &request());
    let endless = frame(1, 0, 1, &request());
    let resets: Vec<u8> = (0..2000u32)
        .flat_map(|number| {
            let stream = 2 * number + 1;
            [frame(1, 0x5, stream, &request()), frame(3, 0, stream, &[0, 0, 0, 8])].concat()
        })
        .collect();
    for (name, flooding) in [
        ("empty data", [open, frame(0, 0, 1, &[]).repeat(4000)].concat()),
        ("empty continuation", [endless.clone(), frame(9, 0, 1, &[]).repeat(4000)].concat()),
        ("continuation", [endless, frame(9, 0, 1, &[0x0f]).repeat(4000)].concat()),
        ("rapid reset", resets),
    ] {
        let edge = Edge::with(limits(), true, None).await;
        // Whether it is noticed by us or by what decodes the frames: it is the same for the client.
        assert_eq!(flood(&edge, &flooding).await.0, Some(ENHANCE_YOUR_CALM), "{name}");
        assert!(edge.origin.requests() < 250, "{name}: {}", edge.origin.requests());
        assert_eq!(edge.client().await.get("/a").await.status, 200, "{name}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_bomb_of_small_fields_is_never_decoded() {
    let crumb = |count: usize| [&[0x40, 6][..], b"cookie", &[3], b"a=b", &[0xbe].repeat(count)].concat();
    for (name, block) in [("indexed", [0x82].repeat(2000)), ("cookie crumbs", crumb(2000))] {
        let edge = Edge::with(Limits { header_count: 50, ..limits() }, true, None).await;
        let wire = frame(1, 0x4, 1, &[request(), block].concat());
        let (ended, refused) = flood(&edge, &wire).await;
        assert_eq!((ended, refused), (Some(ENHANCE_YOUR_CALM), vec!["http2_header_count"]), "{name}");
        assert_eq!(edge.origin.requests(), 0, "{name}");
    }
}
