//! Whether a token is a JWT or an opaque one, by its form alone: who of two plugins decides about it.

/// True for a token that nobody can take for a JWT. Where two plugins share the tokens of a route, each token is the
/// business of exactly one: opaque ones have the form that RFC 6750 §2.1 gives tokens, fewer than the two dots that
/// every JWT has, and do not begin as a JSON object does, encoded or not. What is left, broken JWTs and what is no
/// token at all among it, is the business of the plugin that verifies JWTs, and refused there: nobody gets around its
/// checks by writing a token in a way that somebody else still understands.
pub(crate) fn is_opaque(token: &[u8]) -> bool {
    let text = token.strip_suffix(b"==").or(token.strip_suffix(b"=")).unwrap_or(token);
    let of_token = |byte: &u8| byte.is_ascii_alphanumeric() || b"-._~+/".contains(byte);
    !text.is_empty()
        && text.iter().all(of_token)
        && text.iter().filter(|byte| **byte == b'.').count() < 2
        // `{"`, `{ ` and `{` with a line break, in base64.
        && ![&b"eyJ"[..], b"eyA", b"ewo", b"ewk", b"ew0"].iter().any(|begin| text.starts_with(begin))
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::{Engine, engine::general_purpose::URL_SAFE};

    #[test]
    fn a_token_is_opaque_or_a_jwt() {
        for token in ["2YotnFZFEjr1zCsicMWpAA", "ory_at_AbC.dEf", "ya29.a0_-x", "a~+/b==", "a=", "0", "ey"] {
            assert!(is_opaque(token.as_bytes()), "{token}");
        }
        for token in [
            "",
            "=",
            "a.b.c",
            "..",
            "a..",
            "..a",
            "a.b.c.d.e",
            "a.b.c=",
            "eyJhbGciOiJub25lIn0",
            "eyJ.x",
            " a",
            "a ",
            "a b",
            "a,b",
            "a%2eb%2ec",
            "a\tb",
            "{\"alg\":1}",
            "a\u{ff0e}b",
            "a===",
            "a=b",
            "\"a\"",
            "a;b",
            "a\0",
        ] {
            assert!(!is_opaque(token.as_bytes()), "{token:?}");
        }
        for json in ["{\"alg\":\"none\"}", "{ \"alg\":1}", "{\n\"a\":1}", "{\t\"a\":1}", "{\r\n\"a\":1}"] {
            assert!(!is_opaque(URL_SAFE.encode(json).as_bytes()), "{json:?}");
        }
    }
}
