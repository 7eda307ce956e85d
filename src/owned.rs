//! Names of request headers that no client may send to an origin.

/// With these clients name another method than the request's.
const METHOD_OVERRIDES: [&str; 3] = ["x-http-method-override", "x-http-method", "x-method-override"];
/// With these they name another path.
const PATH_OVERRIDES: [&str; 3] = ["x-original-url", "x-rewrite-url", "x-original-uri"];

/// What a header may make an origin read another way, if it is let through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Override {
    /// The request's method.
    Method,
    /// Its path.
    Path,
}

impl Override {
    /// What this header is for, where it is one that a route may ask for. Lower case in.
    pub(crate) fn of(name: &str) -> Option<Self> {
        if METHOD_OVERRIDES.contains(&name) {
            Some(Override::Method)
        } else {
            PATH_OVERRIDES.contains(&name).then_some(Override::Path)
        }
    }
}

/// True for a name that only the gateway writes, or that no client may send to an origin. Names are compared
/// as origins might: `.` and `_` read as `-`. Lower case in.
pub(crate) fn is_owned(name: &str) -> bool {
    if name.contains(['.', '_']) {
        let plain = name.replace(['.', '_'], "-");
        return plain == "x-request-id" || is_owned(&plain);
    }
    const PREFIXES: [&str; 4] = ["x-consumer-", "x-authenticated-", "x-forwarded-", "x-ssl-client-"];
    match name.as_bytes().first() {
        Some(b'x') => {
            PREFIXES.iter().any(|prefix| name.starts_with(prefix))
                || matches!(
                    name,
                    "x-credential-identifier" | "x-real-ip" | "x-client-ip" | "x-cluster-client-ip"
                )
                || Override::of(name).is_some()
        }
        Some(b'f') => name == "forwarded",
        Some(b't') => matches!(name, "true-client-ip" | "traceparent"),
        Some(b'c') => matches!(name, "cf-connecting-ip" | "client-cert" | "client-cert-chain"),
        Some(b'p') => matches!(name, "proxy" | "proxy-authorization" | "proxy-connection"),
        Some(b'k') => name == "keep-alive",
        Some(b'h') => name == "http2-settings",
        _ => false,
    }
}
