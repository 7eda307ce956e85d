//! When certificates and lists of revoked ones end.

use crate::{
    conf::model::{At, Config},
    pem,
};
use jiff::{SignedDuration, Timestamp};
use std::path::{Path, PathBuf};
use x509_parser::{
    certificate::X509Certificate,
    prelude::{CertificateRevocationList, FromDer},
};

/// How long before its end a certificate is spoken of.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);
/// The same for a list of revoked certificates: most live for a week or less.
const LIST_SOON: SignedDuration = SignedDuration::from_hours(24);

/// Something that ends, in a file that the configuration names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dated {
    /// Where the file is written: `listeners.secure.tls.certificates[0]`.
    pub(crate) key: String,
    /// The file.
    pub(crate) file: PathBuf,
    /// Of a certificate, or of the authority whose list it is.
    pub(crate) subject: String,
    pub(crate) kind: Kind,
    /// Good from then on.
    from: Timestamp,
    /// The last moment at which it is good.
    pub(crate) to: Timestamp,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// What the gateway shows, itself.
    Own,
    /// Others of its chain.
    Chain,
    Authority,
    /// A list of revoked certificates.
    Revocations,
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Good,
    Soon,
    Early,
    Expired,
}

/// All that the configuration names. What cannot be read is left out: loading it says so.
pub(crate) fn all(config: &Config) -> Vec<Dated> {
    let mut all = Vec::new();
    for tls in config.listeners.values().filter_map(|listener| listener.value.tls.as_ref()) {
        for files in &tls.certificates {
            certificates(&mut all, files, &files.value.certificate, [Kind::Own, Kind::Chain]);
        }
        if let Some(auth) = &tls.client_auth {
            certificates(&mut all, &auth.ca, &auth.ca.value, [Kind::Authority; 2]);
            auth.crl.iter().for_each(|file| revocations(&mut all, file));
        }
    }
    for tls in config.upstreams.values().filter_map(|upstream| upstream.value.tls.as_ref()) {
        if let Some(files) = &tls.identity {
            certificates(&mut all, files, &files.value.certificate, [Kind::Own, Kind::Chain]);
        }
        if let Some(ca) = &tls.ca {
            certificates(&mut all, ca, &ca.value, [Kind::Authority; 2]);
        }
    }
    all
}

/// Logs a line for each that has ended, or soon will. It is used all the same: to refuse the configuration would make
/// an outage of a warning.
pub(crate) fn warn(all: &[Dated]) {
    let now = Timestamp::now();
    for dated in all {
        let Some(text) = dated.said(now) else { continue };
        let past = matches!(dated.state(now), State::Expired | State::Early);
        let level = match dated.kind {
            Kind::Own | Kind::Revocations if past => log::Level::Error,
            _ => log::Level::Warn,
        };
        log::log!(level, "{text}");
    }
}

fn certificates<T>(all: &mut Vec<Dated>, at: &At<T>, file: &Path, [first, rest]: [Kind; 2]) {
    let found = pem::certificates(at, file).unwrap_or_default();
    for (index, der) in found.iter().enumerate() {
        let Ok((_, certificate)) = X509Certificate::from_der(der) else { continue };
        let validity = certificate.validity();
        let ends = (time(validity.not_before.timestamp()), time(validity.not_after.timestamp()));
        let kind = if index == 0 { first } else { rest };
        push(all, (at, file), certificate.subject().to_string(), kind, ends);
    }
}

fn revocations(all: &mut Vec<Dated>, file: &At<PathBuf>) {
    for der in pem::revocations(file).unwrap_or_default() {
        let Ok((_, list)) = CertificateRevocationList::from_der(&der) else { continue };
        let Some(next) = list.next_update() else { continue };
        let ends = (time(list.last_update().timestamp()), time(next.timestamp()));
        push(all, (file, &file.value), list.issuer().to_string(), Kind::Revocations, ends);
    }
}

fn push<T>(
    all: &mut Vec<Dated>,
    (at, file): (&At<T>, &Path),
    subject: String,
    kind: Kind,
    (from, to): (Timestamp, Timestamp),
) {
    all.push(Dated { key: at.path.clone(), file: file.to_owned(), subject, kind, from, to });
}

/// Seconds since 1970; what is beyond all years is at their end.
fn time(seconds: i64) -> Timestamp {
    let end = if seconds < 0 { Timestamp::MIN } else { Timestamp::MAX };
    Timestamp::from_second(seconds).unwrap_or(end)
}

impl Dated {
    fn state(&self, now: Timestamp) -> State {
        let soon = if self.kind == Kind::Revocations { LIST_SOON } else { SOON };
        if now > self.to {
            State::Expired
        } else if now < self.from {
            State::Early
        } else if self.to.duration_since(now) <= soon {
            State::Soon
        } else {
            State::Good
        }
    }

    /// What there is to say of it; nothing where all is well.
    fn said(&self, now: Timestamp) -> Option<String> {
        let Dated { file, subject, from, to, .. } = self;
        let what = match self.kind {
            Kind::Own => format!("the certificate `{}`", file.display()),
            Kind::Chain | Kind::Authority => {
                format!("the certificate of `{subject}` in `{}`", file.display())
            }
            Kind::Revocations => {
                format!("the list of certificates that `{subject}` has revoked, in `{}`,", file.display())
            }
        };
        Some(match (self.state(now), self.kind) {
            (State::Good, _) => return None,
            (State::Early, _) => format!("{what} is not valid before {from}"),
            (State::Expired, Kind::Revocations) => {
                format!("{what} should have been renewed on {to}: clients that it is about are refused")
            }
            (State::Expired, _) => format!("{what} has expired on {to}"),
            (State::Soon, Kind::Revocations) => {
                format!("{what} must be renewed by {to}, or clients that it is about are refused")
            }
            (State::Soon, _) => format!("{what} expires on {to}"),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_days_are_soon_and_one_for_lists() {
        let day = SignedDuration::from_hours(24);
        let (from, now) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + day);
        let dated = |kind, from, to| Dated {
            key: "listeners.a".into(),
            file: "a.pem".into(),
            subject: "CN=a".into(),
            kind,
            from,
            to,
        };
        for (days, expected, list) in [
            (31, State::Good, State::Good),
            (30, State::Soon, State::Good),
            (2, State::Soon, State::Good),
            (1, State::Soon, State::Soon),
            (0, State::Soon, State::Soon),
            (-1, State::Expired, State::Expired),
        ] {
            for kind in [Kind::Own, Kind::Chain, Kind::Authority] {
                assert_eq!(dated(kind, from, now + day * days).state(now), expected, "{days}");
            }
            assert_eq!(dated(Kind::Revocations, from, now + day * days).state(now), list, "{days}");
        }
        let early = dated(Kind::Own, now + day, now + day * 99);
        assert_eq!(early.state(now), State::Early);
        assert_eq!(
            early.said(now).unwrap(),
            "the certificate `a.pem` is not valid before 1970-01-03T00:00:00Z"
        );
    }
}
