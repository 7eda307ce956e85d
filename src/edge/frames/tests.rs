use super::*;

const SETTINGS: u8 = 4;
const PING: u8 = 6;

fn frame(kind: u8, flags: u8, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    let mut frame = length[1..].to_vec();
    frame.extend([kind, flags, 0, 0, 0, 1]);
    frame.extend(payload);
    frame
}

fn begun(fields: usize) -> Frames {
    let mut frames = Frames::new(fields);
    frames.advance(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n").unwrap();
    frames
}

/// How many of these frames are taken, up to `most`.
fn taken(frames: &mut Frames, frame: &[u8], most: usize) -> (usize, Option<&'static str>) {
    for count in 0..most {
        if let Err(refusal) = frames.advance(frame) {
            return (count, Some(refusal.reason));
        }
    }
    (most, None)
}

#[tokio::test(start_paused = true)]
async fn floods_end_early() {
    let headers = frame(HEADERS, 0x4, &[0x82]);
    let reset = [headers.clone(), frame(RST_STREAM, 0, &[0; 4])].concat();
    for (name, flood, ends, reason) in [
        ("ping", frame(PING, 0, &[0; 8]), 500, "http2_control_frames"),
        ("settings", frame(SETTINGS, 0, &[]), 500, "http2_control_frames"),
        ("priority", frame(2, 0, &[0; 5]), 500, "http2_control_frames"),
        ("unknown", frame(0x42, 0, &[1]), 500, "http2_control_frames"),
        ("empty data", frame(DATA, 0, &[]), 500, "http2_control_frames"),
        ("empty continuation", frame(CONTINUATION, 0, &[]), 500, "http2_control_frames"),
        ("window update", frame(WINDOW_UPDATE, 0, &[0, 0, 0, 1]), 2000, "http2_window_updates"),
        ("rapid reset", reset, 200, "http2_resets"),
    ] {
        assert_eq!(taken(&mut begun(100), &flood, 100_000), (ends, Some(reason)), "{name}");
        // The same at a rate that nobody minds.
        let mut slow = begun(100);
        for _ in 0..30 {
            assert_eq!(taken(&mut slow, &flood, ends / 2).1, None, "{name}");
            tokio::time::advance(WINDOW / 2).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn what_clients_do_is_no_flood() {
    let (mut frames, headers) = (begun(100), frame(HEADERS, 0x5, &[0x82, 0x84]));
    let request = [&*headers, &frame(0x10, 0, b"u=1"), &frame(PING, 0, &[0; 8])].concat();
    assert_eq!(taken(&mut frames, &request, 10_000).1, None);
    let cancelled = [&*headers, &headers, &frame(RST_STREAM, 0, &[0; 4])].concat();
    assert_eq!(taken(&mut frames, &cancelled, 10_000).1, None);
    for _ in 0..10_000 {
        frames.sent(&frame(DATA, 0, &[0; 16 * 1024]));
        assert_eq!(taken(&mut frames, &frame(WINDOW_UPDATE, 0, &[0, 0, 64, 0]), 2).1, None);
    }
    let end = frame(DATA, END_STREAM, &[]);
    assert_eq!(taken(&mut frames, &[headers, end].concat(), 10_000).1, None);
    assert_eq!(taken(&mut frames, &frame(DATA, 0, b"x"), 10_000).1, None);
}

/// A block in frames of these kinds, in pieces of every size: how many fields were counted.
fn fields(most: usize, wire: &[u8]) -> Vec<bool> {
    (1..=wire.len().min(12))
        .map(|size| {
            let mut frames = begun(most);
            wire.chunks(size).try_for_each(|piece| frames.advance(piece)).is_ok()
        })
        .collect()
}

#[tokio::test(start_paused = true)]
async fn fields_are_counted_as_they_were_sent() {
    let long = [&[0x40, 3][..], b"abc", &[0x7f, 0x81, 0x01], &[b'v'; 256]].concat();
    for (name, one) in [
        ("indexed", vec![0x82]),
        ("indexed, long", vec![0xff, 0x80, 0x80, 0x01]),
        ("cookie crumb", vec![0x60, 3, b'a', b'=', b'b']),
        ("literal", vec![0x40, 1, b'a', 1, b'b']),
        ("literal without value", vec![0x40, 1, b'a', 0]),
        ("not indexed", vec![0x0f, 0x11, 1, 0x82]),
        ("never indexed", vec![0x10, 2, 0x82, 0x82, 1, 0x82]),
        ("Huffman", vec![0x41, 0x83, 0x82, 0x82, 0x82]),
        ("a long value", long),
        ("size of the table", vec![0x3f, 0x01]),
    ] {
        for (count, passes) in [(6, true), (7, false)] {
            let block = one.repeat(count);
            let (first, rest) = block.split_at(block.len() / 2);
            let padded = [&[3u8, 0, 0, 0, 0, 16][..], &block, &[0x82; 3]].concat();
            for (framed, wire) in [
                ("alone", frame(HEADERS, 0x4, &block)),
                ("padded", frame(HEADERS, 0x4 | PADDED | PRIORITY, &padded)),
                ("continued", [frame(HEADERS, 0, first), frame(CONTINUATION, 0x4, rest)].concat()),
            ] {
                let taken = fields(3, &wire);
                assert!(taken.iter().all(|taken| *taken == passes), "{name}, {framed}, {count}: {taken:?}");
            }
        }
    }
    // Each request has its own.
    let one = frame(HEADERS, 0x4, &[0x82; 6]);
    assert!(fields(3, &one.repeat(20)).iter().all(|taken| *taken));
}

#[tokio::test(start_paused = true)]
async fn no_more_fields_are_shown_than_can_be_counted_in_time() {
    let mut frames = begun(1000);
    let one = frame(HEADERS, 0x4, &[0x82; 100]);
    let wire = one.repeat(7);
    let mut rest = &wire[..];
    for heads in [3, 3, 1] {
        let taken = frames.advance_some(rest).unwrap();
        assert_eq!(taken, heads * one.len());
        assert_eq!(frames.advance_some(&rest[taken..]), Ok(0));
        assert_eq!(frames.resume(), heads == 3);
        rest = &rest[taken..];
    }
}
