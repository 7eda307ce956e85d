//! Why a token is refused.

/// A refusal, with a word for the operator. The client learns the code and no more: what it learns before the
/// signature is verified tells nothing about keys, and what it learns after is its own token's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// More than one token.
    Ambiguous,
    /// Not a token that can be read, or in more than one way.
    Malformed(&'static str),
    /// Not signed in one of the ways that are allowed for the key.
    Algorithm(&'static str),
    /// Signed with a key that nobody knows.
    KeyUnknown,
    /// Not signed with the key.
    Signature,
    /// Another `typ` than asked for.
    Type,
    /// `exp` is over.
    Expired,
    /// `nbf` or `iat` is to come.
    NotYetValid(&'static str),
    /// It lives longer than allowed.
    Lifetime,
    /// Another `iss`.
    Issuer,
    /// Another `aud`.
    Audience,
    /// A claim is missing.
    ClaimMissing(&'static str),
    /// A claim has a type or a value that it cannot have.
    ClaimInvalid(&'static str),
    /// It is bound to another certificate than the connection's, or to none.
    Bound(&'static str),
    /// It belongs to no consumer.
    ConsumerUnknown,
    /// Who has made it says that it is good no longer, or never was.
    Inactive,
    /// It is on a list of those that are good no longer.
    Revoked(&'static str),
    /// It is good, and has not the scopes that are asked for.
    Scope,
}

impl Refusal {
    /// True where the token is one of the issuer's all the same. Where no keys are there as yet that is not verified, but
    /// nothing is.
    pub(crate) fn is_of_genuine(self) -> bool {
        use Refusal::{
            Audience, Bound, ClaimInvalid, ClaimMissing, ConsumerUnknown, Expired, Issuer, Lifetime,
            NotYetValid, Revoked,
        };
        matches!(
            self,
            Expired
                | NotYetValid(_)
                | Lifetime
                | Issuer
                | Audience
                | ClaimMissing(_)
                | ClaimInvalid(_)
                | ConsumerUnknown
                | Bound(_)
                | Revoked(_)
        )
    }

    /// The stable reason code, and what the operator is told.
    pub(crate) fn told(self) -> (&'static str, &'static str) {
        match self {
            Refusal::Ambiguous => ("credential_ambiguous", "more than one token"),
            Refusal::Malformed(detail) => ("token_malformed", detail),
            Refusal::Algorithm(detail) => ("token_algorithm", detail),
            Refusal::KeyUnknown => ("token_key_unknown", "no key of this id"),
            Refusal::Signature => ("token_signature", "the signature is not the key's"),
            Refusal::Type => ("token_type", "another `typ`"),
            Refusal::Expired => ("token_expired", "`exp` is over"),
            Refusal::NotYetValid(detail) => ("token_not_yet_valid", detail),
            Refusal::Lifetime => ("token_lifetime", "longer than `maximum_lifetime`"),
            Refusal::Issuer => ("token_issuer", "another `iss`"),
            Refusal::Audience => ("token_audience", "another `aud`"),
            Refusal::ClaimMissing(detail) => ("token_claim_missing", detail),
            Refusal::ClaimInvalid(detail) => ("token_claim_invalid", detail),
            Refusal::Bound(detail) => ("token_certificate", detail),
            Refusal::ConsumerUnknown => ("token_consumer_unknown", "the claim names no consumer"),
            Refusal::Inactive => ("token_inactive", "its issuer says that it is not active"),
            Refusal::Revoked(detail) => ("token_revoked", detail),
            Refusal::Scope => ("insufficient_scope", "a scope of `required_scopes` is missing"),
        }
    }
}
