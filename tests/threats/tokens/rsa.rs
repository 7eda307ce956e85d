//! Signatures by RSA that nobody has made: forged, of another scheme, or written in another way.

use super::{Gateway, URL_SAFE_NO_PAD};
use base64::Engine;

/// A public key, and a token that its owner has signed.
const RSA: &str = "\
-----BEGIN PUBLIC KEY-----\n\
MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAn8Okl1q5orcusEi4rwJI\n\
lWzFDZLQfaiGy/S8SEuelbSwWT4NTZl2dz4M0Nq2xbv09atmNUgCOYgYOUxR+WX2\n\
CV6hIPXHxdPfyGxXvisfO1MtiLoGL5DTiOHhaKp2H4J/kuvlWgHMQTnOz0O9WjNC\n\
Lrf84RmfpN8DG0FEijF4ZVKUY04hCPcTcQKEKt1/PATK98cTW8hr+nhiBUaL1zyD\n\
Bu4BvD7AavC2AKevB3xlQTadSDvqFrOqLeAhahrCjPrkfTUy8KNb36Ff/Q2to+cV\n\
Dj8spmYIFFUX903JYILJW+JysHqfP5ztmSxmCmaYiJwhZtsUHdxHIh/WmGkPve7Z\n\
TQIDAQAB\n\
-----END PUBLIC KEY-----\n";
const RSA_MESSAGE: &str = "eyJhbGciOiAiUlMyNTYifQ.eyJpc3MiOiAiaSIsICJzdWIiOiAiYWxpY2UiLCAiYXVkIjogInNob3AiLCAiZXhwIjogNDEwMjQ0NDgwMH0";
const RSA_SIGNATURE: &str = "LFvpwZAt_cGzDyUVDo7Mz6wyM81js8hBbZ7cEUd0zQSjCGbNetyga2MhZ29Aq-l7hJFtg1Gw_jdkLP1IDjIJ4sHt0se1Z21GX19CRFhhKyPE_ZyrFiTmcWJbzZa02fcqbHCsiU5PmkbtoI0jPXzk6W7N2ZarVDZQ6p1tvfacdH8hZyuZvLd-f3zgRCDEgkHNsIMiRR55BT5YOaLm-EaNquSov-yU3gFwetursM0sp5tRITYkBVsFzHkloQTdMcHUG1mQG3WAz2kzpG9jo6zUswz9JH0UhalmSCihWe3CIDP33wf77t30PGoG7gaXqKG74fzFCbr5grLTlMJ4FpMGyg";
/// What the signature is made of: nobody has signed it.
const RSA_DIGEST: &str = "AAH_____________________________________________________________________________________________________________________________________________________________________________________________________________________________________________________________________________ADAxMA0GCWCGSAFlAwQCAQUABCBX76fqcSmuXX_ngC7tImGPPsy9IKq3f2b--h-wFDXQfg";

#[test]
fn a_forged_rsa_signature_is_refused() {
    let prepared = Gateway::prepare(
        "routes: {any: {paths: [/echo/*], upstream: demo, plugins: {jwt: {public_key: key.pem, audience: shop}}}}",
    );
    prepared.write("key.pem", RSA);
    let gateway = prepared.start(env!("CARGO_BIN_EXE_palisade").as_ref());
    let ask = |message: &str, signature: &str| {
        gateway.request("GET", "/echo/", &[&format!("authorization: Bearer {message}.{signature}")])
    };
    // A key whose exponent is 3, for which forging is easiest, is refused by the configuration.
    assert_eq!(ask(RSA_MESSAGE, RSA_SIGNATURE).status, 200);
    let good = URL_SAFE_NO_PAD.decode(RSA_SIGNATURE).unwrap();
    let mut one = vec![0; 256];
    one[255] = 1;
    for signature in [
        URL_SAFE_NO_PAD.decode(RSA_DIGEST).unwrap(),
        one,
        vec![0; 256],
        vec![0xff; 256],
        Vec::new(),
        [&[0][..], &good].concat(),
        good[1..].to_vec(),
        [&good[..], &[0]].concat(),
    ] {
        let answer = ask(RSA_MESSAGE, &URL_SAFE_NO_PAD.encode(&signature));
        assert_eq!(answer.status, 401, "{signature:?}");
        assert!(answer.reason().starts_with("token_"), "{}", answer.reason());
    }
    // The same signature says nothing of another scheme or digest.
    let claims = RSA_MESSAGE.split_once('.').unwrap().1;
    for name in ["PS256", "RS384", "RS512", "HS256", "none"] {
        let header = URL_SAFE_NO_PAD.encode(format!("{{\"alg\": \"{name}\"}}"));
        assert_eq!(ask(&format!("{header}.{claims}"), RSA_SIGNATURE).status, 401, "{name}");
    }
}
