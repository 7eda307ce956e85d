//! A successor takes over while clients go on.

use crate::{client::Client, harness::Gateway};
use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

const CONF: &str = "routes: {echo: {paths: [/echo/*], upstream: demo}}";

#[test]
fn an_upgrade_loses_nothing() {
    let mut gateway = Gateway::start(CONF);
    // A port that the system has picked cannot be asked for by the successor again: the socket is what it gets.
    let address = gateway.address();
    let mut kept = gateway.connect();
    kept.request("GET", "/echo/before", &[]).expect(200);
    let stop = Arc::new(AtomicBool::new(false));
    let load = {
        let stop = stop.clone();
        std::thread::spawn(move || {
            let mut count = 0;
            while !stop.load(Ordering::Relaxed) {
                Client::connect(address).request("GET", "/echo/load", &[]).expect(200);
                count += 1;
            }
            count
        })
    };
    let successor = gateway.successor();
    successor.wait_for_log("the predecessor drains");
    gateway.wait_for_log("a successor has taken over", 1);
    assert_eq!(successor.at("listener public"), address);
    // Its connection is still with the old process, which answers and says goodbye.
    assert_eq!(kept.request("GET", "/echo/kept", &[]).expect(200).header("connection"), Some("close"));
    assert!(kept.is_closed());
    assert_eq!(gateway.wait().code(), Some(0));
    let mut after = Client::connect(address);
    for _ in 0..20 {
        after.request("GET", "/echo/after", &[]).expect(200);
    }
    stop.store(true, Ordering::Relaxed);
    assert!(load.join().unwrap() > 0, "every request was answered");
}

#[test]
fn a_successor_without_a_predecessor_says_so() {
    let (code, text) = Gateway::prepare(CONF).refused_with(&["--upgrade"]);
    assert_eq!(code, 1);
    assert!(text.contains("start without `--upgrade`"), "{text}");
}
