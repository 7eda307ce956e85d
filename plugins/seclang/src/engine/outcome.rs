//! What an evaluation found and decided.

use std::sync::Arc;

/// What becomes of the request.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Verdict {
    /// It is answered with the status.
    Deny,
    /// The connection is closed without an answer.
    Drop,
    /// It is sent elsewhere.
    Redirect(String),
}

/// A rule's decision to stop a transaction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Intervention {
    /// What becomes of the request.
    pub verdict: Verdict,
    /// The status of the answer.
    pub status: u16,
    /// The rule that decided; zero where a body's limit did.
    pub rule: u64,
    /// The phase, from 1 to 5.
    pub phase: u8,
    /// The rule's message, bounded.
    pub message: String,
}

/// A value that a rule matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedVariable {
    /// The variable with its name, such as `ARGS:id`, bounded.
    pub name: String,
    /// A bounded piece of the value, masked where it may be a secret.
    pub piece: String,
}

/// A rule that matched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MatchedRule {
    /// Its id.
    pub id: u64,
    /// Its phase, from 1 to 5.
    pub phase: u8,
    /// From 0, an emergency, to 7.
    pub severity: Option<u8>,
    /// Its message with macros expanded, bounded.
    pub message: String,
    /// Its tags.
    pub tags: Vec<Arc<str>>,
    /// The values that matched, the first ones.
    pub variables: Vec<MatchedVariable>,
}

/// The sums of CRS and rule sets like it. All zero where rules keep none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Scores {
    /// `tx.blocking_inbound_anomaly_score`, or `tx.anomaly_score` of CRS 3.
    pub inbound: i64,
    /// `tx.blocking_outbound_anomaly_score`, or `tx.outbound_anomaly_score` of CRS 3.
    pub outbound: i64,
    /// `tx.detection_inbound_anomaly_score`.
    pub detection_inbound: i64,
    /// `tx.detection_outbound_anomaly_score`.
    pub detection_outbound: i64,
}
