//! Tokens that are bound to a certificate.

use super::*;
use palisade_contract::{PeerCertificate, Tls};
use std::sync::Arc;

/// `openssl` would say the thumbprint of 32 bytes of 7 is this, base64url without padding.
const BOUND: &str = "BwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwcHBwc";

fn over(case: Case, byte: u8, behind_proxy: bool) -> Case {
    case.client(|client| {
        client.behind_proxy = behind_proxy;
        client.tls = Some(Tls {
            version: "TLSv1.3".into(),
            cipher: "x".into(),
            server_name: None,
            alpn: None,
            certificate: Some(Arc::new(PeerCertificate { chain: Vec::new(), sha256: [byte; 32] })),
        });
    })
}

#[test]
fn a_bound_token_is_good_with_its_certificate_alone() {
    let token = |cnf: Value| Signer::secret().token("HS256", &with("cnf", cnf));
    let bound = token(json!({"x5t#S256": BOUND}));
    let sent = |token: &str| case().header("authorization", &format!("Bearer {token}"));
    for cache in [0, 16] {
        let of = |mode: &str| {
            let yaml = format!("{{secret: '{SECRET}', cache_size: {cache}, certificate_binding: {mode}}}");
            kit().build(&yaml).unwrap()
        };
        let plugin = of("where_bound");
        for _ in 0..2 {
            plugin.run(over(sent(&bound), 7, false)).authenticated();
            plugin.run(over(sent(&bound), 8, false)).denied(401, "token_certificate");
            plugin.run(over(sent(&bound), 7, true)).denied(401, "token_certificate");
            plugin.run(sent(&bound)).denied(401, "token_certificate");
            send(&plugin, &Signer::secret().token("HS256", &good())).authenticated();
        }
        let required = of("required");
        required.run(over(sent(&bound), 7, false)).authenticated();
        required
            .run(over(sent(&Signer::secret().token("HS256", &good())), 7, false))
            .denied(401, "token_certificate");
        send(&of("ignored"), &bound).authenticated();
    }
    // Bound otherwise: it is no thumbprint that is looked at.
    send(&secret(), &token(json!({"jkt": BOUND}))).authenticated();
    for hostile in [
        json!("x5t#S256"),
        json!([]),
        Value::Null,
        json!({"x5t#S256": null}),
        json!({"x5t#S256": [BOUND]}),
        json!({"x5t#S256": ""}),
        json!({"x5t#S256": format!("{BOUND}=")}),
        json!({"x5t#S256": &BOUND[1..]}),
        json!({"x5t#S256": "07".repeat(32)}),
        json!({"x5t#S256": BOUND.replace('B', "+")}),
    ] {
        secret().run(over(sent(&token(hostile)), 7, false)).denied(401, "token_claim_invalid");
    }
}
