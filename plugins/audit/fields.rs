//! Which fields a line has.

use schemars::JsonSchema;
use serde::Deserialize;

macro_rules! fields {
    ($($(#[$doc:meta])* $field:ident,)*) => {
        /// A field of the record.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, JsonSchema)]
        #[serde(rename_all = "snake_case")]
        pub enum Field {
            $($(#[$doc])* $field,)*
        }

        const ALL: &[Field] = &[$(Field::$field,)*];
    };
}

fields! {
    /// When the request's first byte came (RFC 3339, UTC).
    Time,
    /// The request's id; the origin's `x-request-id`.
    Id,
    /// The trace's id, as the origin gets it in `traceparent`.
    Trace,
    /// The route's name, `_none` where no route took the request.
    Route,
    /// The upstream's name.
    Upstream,
    /// The method.
    Method,
    /// The host that the request was for.
    Host,
    /// The path in normal form.
    Path,
    /// The query, with credentials masked. Not there unless asked for.
    Query,
    /// What the parameters of the route's path stand for: which record was asked for.
    Params,
    /// `HTTP/1.1`, `HTTP/2.0`.
    Protocol,
    /// The client's address, behind trusted proxies the one they vouch for.
    Client,
    /// The other end of the connection.
    Peer,
    /// The listener's name.
    Listener,
    /// The version of TLS.
    Tls,
    /// The cipher suite.
    TlsCipher,
    /// The protocol that was agreed on in the TLS handshake: `h2`, `http/1.1`.
    TlsAlpn,
    /// The host that the client named in its TLS handshake.
    TlsServerName,
    /// Who was proved to call.
    Principal,
    /// The consumer that the credential belongs to.
    Consumer,
    /// Which credential it was; never the secret.
    Credential,
    /// There, and true, where a request without a credential was let in.
    Anonymous,
    /// The status that the client got; 499 where it left before an answer.
    Status,
    /// The stable code where the gateway made the answer or the transfer broke.
    Reason,
    /// What went wrong, for the operator.
    Error,
    /// Bytes of the request's body.
    RequestBytes,
    /// Bytes of the answer's body.
    ResponseBytes,
    /// From the request's first byte to the end, in microseconds.
    DurationUs,
    /// The origin that answered, or the last one tried.
    UpstreamAddress,
    /// How many times an origin was tried.
    Attempts,
    /// Until the origin's head was there, in microseconds.
    UpstreamUs,
    /// What each plugin decided.
    Decisions,
    /// What plugins have found in the request, such as the rules of a firewall that matched.
    Findings,
}

/// A choice of fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fields(u64);

impl Fields {
    /// Those of a record that nobody has chosen.
    pub(super) fn usual() -> Self {
        Fields(ALL.iter().fold(0, |all, field| all | bit(*field)) & !bit(Field::Query))
    }

    pub(super) fn has(self, field: Field) -> bool {
        self.0 & bit(field) != 0
    }

    pub(super) fn with(self, field: Field) -> Self {
        Fields(self.0 | bit(field))
    }
}

fn bit(field: Field) -> u64 {
    1 << field as u64
}

/// Which fields a line has: those of `include` alone, or all usual ones without those of `exclude`.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Choice {
    /// These and no others.
    include: Option<Vec<Field>>,
    /// All but these.
    exclude: Option<Vec<Field>>,
}

impl Choice {
    pub(super) fn compile(&self) -> Result<Fields, &'static str> {
        match (&self.include, &self.exclude) {
            (Some(_), Some(_)) => Err("`include` and `exclude` cannot both be there"),
            (Some(include), None) if include.is_empty() => Err("a line needs a field"),
            (Some(include), None) => Ok(include.iter().fold(Fields(0), |all, field| all.with(*field))),
            (None, exclude) => {
                let exclude = exclude.iter().flatten().fold(0, |all, field| all | bit(*field));
                Ok(Fields(Fields::usual().0 & !exclude))
            }
        }
    }
}
