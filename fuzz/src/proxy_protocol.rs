//! The PROXY protocol's header: from bytes, and from a socket in pieces.

use palisade::edge::proxy_protocol::{Source, parse, read};
use std::{cell::RefCell, net::Ipv4Addr};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    runtime::{Builder, Runtime},
};

/// The longest header: the fixed part of version 2 and what it may hold.
const MOST: usize = 16 + 4096;

/// Reads a header, and what follows it.
///
/// # Panics
/// Where it takes bytes that are not its own, or where a socket gives another result than the bytes.
pub fn run(data: &[u8]) {
    let found = parse(data);
    if let Some((source, end)) = found {
        assert!(end <= data.len() && end <= MOST);
        assert_eq!(parse(&data[..end]), Some((source, end)), "what follows makes no difference");
        let short = (0..end).find(|short| parse(&data[..*short]).is_some());
        assert_eq!(short, None, "half a header is none");
    }
    let step = data.first().map_or(1, |first| usize::from(*first) % 7 * 16 + 1);
    WORLD.with_borrow_mut(|kept| {
        let (runtime, listener) = kept.get_or_insert_with(world);
        runtime.block_on(over_a_socket(listener, data, step, found));
    });
}

type World = (Runtime, TcpListener);

fn world() -> World {
    let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
    let listener = runtime.block_on(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))).expect("a listener");
    (runtime, listener)
}

thread_local! {
    static WORLD: RefCell<Option<World>> = const { RefCell::new(None) };
}

async fn over_a_socket(listener: &TcpListener, data: &[u8], step: usize, found: Option<(Source, usize)>) {
    let address = listener.local_addr().expect("an address");
    let mut client = TcpStream::connect(address).await.expect("a connection");
    let (mut server, _) = listener.accept().await.expect("a connection");
    client.set_nodelay(true).expect("an option");
    let send = async {
        for piece in data.chunks(step) {
            // Who is refused early does not read the rest.
            if client.write_all(piece).await.is_err() {
                return;
            }
            tokio::task::yield_now().await;
        }
        let _ = client.shutdown().await;
    };
    let receive = async {
        let source = read(&mut server).await.ok();
        let mut rest = Vec::new();
        if source.is_some() {
            server.read_to_end(&mut rest).await.expect("the rest");
        } else {
            drop(server);
        }
        (source, rest)
    };
    let ((), (source, rest)) = tokio::join!(send, receive);
    assert_eq!(source, found.map(|(source, _)| source), "the socket, and the bytes");
    if let Some((_, end)) = found {
        assert_eq!(rest, &data[end..], "what follows the header is left");
    }
}
