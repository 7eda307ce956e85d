//! Origins that break: what only asks is sent once more, what does more is never repeated once a byte was sent.

use crate::{client::head, harness::Gateway, origin::Origin};

fn before(origin: &Origin) -> Gateway {
    let address = origin.address;
    Gateway::start(&format!(
        "
upstreams: {{raw: {{targets: [{{address: '{address}'}}]}}}}
routes: {{all: {{paths: [/*], upstream: raw}}}}
"
    ))
}

fn breaking() -> Origin {
    Origin::start(|request| {
        match request.path() {
            "/half" => request.send("HTTP/1.1 200 OK\r\nContent-Le"),
            "/reset" => {
                rustix::net::sockopt::set_socket_linger(&*request.stream, Some(std::time::Duration::ZERO))
                    .is_ok()
            }
            "/fine" => return request.answer(200, "ok"),
            "/garbage" => request.send("nonsense\r\n\r\n"),
            _ => true,
        };
        false
    })
}

#[test]
fn a_get_is_repeated_once_where_the_origin_closes_resets_or_sends_half_a_head() {
    let origin = breaking();
    let gateway = before(&origin);
    for (count, path) in (1..).zip(["/close", "/reset", "/half"]) {
        assert_eq!(gateway.get(path).expect(502).reason(), "upstream_broken", "{path}");
        assert_eq!(origin.requests(), 2 * count, "{path}");
    }
    assert!(gateway.audit(3).iter().all(|line| line["attempts"] == 2));
}

#[test]
fn what_does_more_than_ask_is_not_repeated() {
    let origin = breaking();
    let gateway = before(&origin);
    for (count, method) in (1..).zip(["POST", "PUT", "DELETE", "PATCH"]) {
        let request = head(method, "/close", &["Content-Length: 5"]) + "hello";
        gateway.connect().send(request).response().expect(502);
        assert_eq!(origin.requests(), count, "{method}");
    }
}

#[test]
fn an_answer_that_cannot_be_read_is_not_asked_for_again() {
    let origin = breaking();
    let gateway = before(&origin);
    gateway.get("/garbage").expect(502);
    assert_eq!(origin.requests(), 1);
    gateway.get("/fine").expect(200);
}
