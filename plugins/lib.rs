//! The plugins that palisade ships with: one table, in the order in which they run inside a stage.
#![cfg_attr(
    test,
    allow(
        clippy::unwrap_used,
        clippy::expect_used,
        clippy::panic,
        clippy::indexing_slicing,
        clippy::string_slice,
        reason = "tests may panic"
    )
)]

mod acl;
mod audit;
mod basic_auth;
mod coding;
mod content_type;
mod correlation_id;
mod cors;
mod credential_guard;
mod csrf;
mod hmac_auth;
mod ip_restriction;
mod json;
mod json_limits;
mod jwt;
mod key_auth;
mod media_type;
mod mtls;
mod ownership;
mod presented;
mod rate_limiting;
mod rbac;
mod redirect;
mod request_size_limiting;
mod request_termination;
mod response_headers;
pub mod waf;
mod xml_limits;

pub use acl::Acl;
pub use audit::{Audit, flush as flush_audit, reopen as reopen_audit};
pub use basic_auth::{BasicAuth, BasicCredential, hash_password};
pub use content_type::ContentType;
pub use correlation_id::CorrelationId;
pub use cors::Cors;
pub use credential_guard::CredentialGuard;
pub use csrf::Csrf;
pub use hmac_auth::{HmacAuth, HmacCredential};
pub use ip_restriction::IpRestriction;
pub use json_limits::JsonLimits;
pub use jwt::{Jwt, JwtCredential};
pub use key_auth::{KeyAuth, KeyCredential};
pub use mtls::{Mtls, MtlsCredential};
pub use ownership::Ownership;
pub use rate_limiting::RateLimiting;
pub use rbac::Rbac;
pub use redirect::Redirect;
pub use request_size_limiting::RequestSizeLimiting;
pub use request_termination::RequestTermination;
pub use response_headers::ResponseHeaders;
pub use waf::Waf;
pub use xml_limits::XmlLimits;

use palisade_contract::Descriptor;

/// Registry, execution order inside a stage, and order in the documents.
pub static PLUGINS: &[Descriptor] = &[
    // First where it must promise a record, in Screen; else in Observe
    Descriptor::of::<Audit>(),
    // Screen
    Descriptor::of::<CorrelationId>(),
    Descriptor::of::<IpRestriction>(),
    // Stands in Limit where it counts by who is calling.
    Descriptor::of::<RateLimiting>(),
    Descriptor::of::<Redirect>(),
    Descriptor::of::<Cors>(),
    Descriptor::of::<CredentialGuard>(),
    // Authenticate
    Descriptor::authenticator::<Mtls>().with_credentials::<MtlsCredential>(),
    Descriptor::authenticator::<KeyAuth>().with_credentials::<KeyCredential>(),
    Descriptor::authenticator::<BasicAuth>().with_credentials::<BasicCredential>(),
    Descriptor::authenticator::<HmacAuth>().with_credentials::<HmacCredential>(),
    Descriptor::authenticator::<Jwt>().with_credentials::<JwtCredential>(),
    // Authorize
    Descriptor::of::<Csrf>(),
    Descriptor::of::<Acl>(),
    Descriptor::of::<Rbac>(),
    Descriptor::of::<Ownership>(),
    // Limit
    Descriptor::of::<RequestSizeLimiting>(),
    // Validate
    Descriptor::of::<ContentType>(),
    Descriptor::of::<JsonLimits>(),
    Descriptor::of::<XmlLimits>(),
    // Inspect
    Descriptor::of::<Waf>(),
    // Transform
    Descriptor::of::<ResponseHeaders>(),
    Descriptor::of::<RequestTermination>(),
];

#[cfg(test)]
mod tests {
    #[test]
    fn the_order_is_as_it_was_decided() {
        let names: Vec<_> = super::PLUGINS.iter().map(|plugin| plugin.name).collect();
        assert_eq!(
            names,
            [
                "audit",
                "correlation-id",
                "ip-restriction",
                "rate-limiting",
                "redirect",
                "cors",
                "credential-guard",
                "mtls",
                "key-auth",
                "basic-auth",
                "hmac-auth",
                "jwt",
                "csrf",
                "acl",
                "rbac",
                "ownership",
                "request-size-limiting",
                "content-type",
                "json-limits",
                "xml-limits",
                "waf",
                "response-headers",
                "request-termination"
            ]
        );
    }
}
