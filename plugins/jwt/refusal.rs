//! Why a token is refused.

/// A refusal, with a word for the operator. The client learns the code and no more: what it learns before the
/// signature is verified tells nothing about keys, and what it learns after is its own token's content.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
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
}

impl Refusal {
    /// True where the token is one of the issuer's all the same. Where no keys are there as yet that is not verified, but
    /// nothing is.
    pub(super) fn is_of_genuine(self) -> bool {
        use Refusal::{
            Audience, ClaimInvalid, ClaimMissing, ConsumerUnknown, Expired, Issuer, Lifetime, NotYetValid,
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
        )
    }

    /// The stable reason code, and what the operator is told.
    pub(super) fn told(self) -> (&'static str, &'static str) {
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
        }
    }
}
