//! What plugins guard, in the words of who asks what guards an operation.

use serde::Serialize;

/// Something that an operation may be guarded by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Control {
    /// It is known who calls.
    Authentication,
    /// Who calls may do this, to this object.
    Authorization,
    /// How often it may be done.
    RateLimit,
    /// What a request may be: its size, its type, its shape.
    Validation,
    /// What attacks look like.
    Firewall,
    /// Where a request may come from.
    Network,
    /// What browsers may do on behalf of others.
    Browser,
    /// What a response may give away.
    Data,
    /// It is written down what was decided.
    Audit,
}

impl Control {
    /// All, in the order in which they are shown.
    pub const ALL: [Control; 9] = [
        Control::Authentication,
        Control::Authorization,
        Control::RateLimit,
        Control::Validation,
        Control::Firewall,
        Control::Network,
        Control::Browser,
        Control::Data,
        Control::Audit,
    ];

    /// The name in tables and documents.
    pub fn as_str(self) -> &'static str {
        match self {
            Control::Authentication => "authentication",
            Control::Authorization => "authorization",
            Control::RateLimit => "rate_limit",
            Control::Validation => "validation",
            Control::Firewall => "firewall",
            Control::Network => "network",
            Control::Browser => "browser",
            Control::Data => "data",
            Control::Audit => "audit",
        }
    }
}
