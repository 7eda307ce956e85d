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
mod data_mask;
mod hmac_auth;
mod ip_restriction;
mod json;
mod json_limits;
mod json_schema;
mod jwt;
mod key_auth;
mod media_type;
mod mtls;
mod multipart;
mod oauth2_introspection;
mod openapi;
mod ownership;
mod presented;
mod rate_limiting;
mod rbac;
mod redirect;
mod request_size_limiting;
mod request_termination;
mod response_headers;
mod schema;
mod tokens;
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
pub use data_mask::DataMask;
pub use hmac_auth::{HmacAuth, HmacCredential};
pub use ip_restriction::IpRestriction;
pub use json_limits::JsonLimits;
pub use json_schema::JsonSchemaPlugin as JsonSchema;
pub use jwt::Jwt;
pub use key_auth::{KeyAuth, KeyCredential, KeyRead, is_key_id, key_expiry, key_id};
pub use mtls::{Mtls, MtlsCredential};
pub use oauth2_introspection::Oauth2Introspection;
pub use openapi::OpenApi;
pub use ownership::Ownership;
pub use rate_limiting::RateLimiting;
pub use rbac::Rbac;
pub use redirect::Redirect;
pub use request_size_limiting::RequestSizeLimiting;
pub use request_termination::RequestTermination;
pub use response_headers::ResponseHeaders;
pub use tokens::TokenCredential;
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
    Descriptor::authenticator::<Jwt>().with_credentials::<TokenCredential>(),
    Descriptor::authenticator::<Oauth2Introspection>().with_credentials::<TokenCredential>(),
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
    Descriptor::of::<JsonSchema>(),
    Descriptor::of::<OpenApi>(),
    // Inspect
    Descriptor::of::<Waf>(),
    // Transform
    Descriptor::of::<ResponseHeaders>(),
    // Before those above where it is about responses: what they say is the operator's own.
    Descriptor::of::<DataMask>(),
    Descriptor::of::<RequestTermination>(),
];

#[cfg(test)]
mod tests {
    /// They serve, and guard nothing.
    const HELPERS: [&str; 4] = ["correlation-id", "redirect", "response-headers", "request-termination"];

    #[test]
    fn plugins_say_what_they_guard() {
        for plugin in super::PLUGINS {
            let helps = HELPERS.contains(&plugin.name);
            assert_eq!(plugin.controls.is_empty(), helps, "{}: `PluginKind::CONTROLS`", plugin.name);
        }
    }

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
                "oauth2-introspection",
                "csrf",
                "acl",
                "rbac",
                "ownership",
                "request-size-limiting",
                "content-type",
                "json-limits",
                "xml-limits",
                "json-schema",
                "openapi",
                "waf",
                "response-headers",
                "data-mask",
                "request-termination"
            ]
        );
    }
}
