//! Certificates that have expired, or soon will.

use crate::conf::model::{At, CertificateFiles, Config};
use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::{CertificateDer, pem::PemObject};
use x509_parser::prelude::{FromDer, X509Certificate};

/// How long before its end a certificate is spoken of.
const SOON: SignedDuration = SignedDuration::from_hours(30 * 24);

/// Logs a line for each certificate of the listeners that has expired or soon will. It is served all the same:
/// to refuse it would make an outage of a warning.
pub fn warn(config: &Config) {
    let listeners = config.listeners.values().filter_map(|listener| listener.value.tls.as_ref());
    for files in listeners.flat_map(|tls| &tls.certificates) {
        let Some((from, to)) = validity(files) else { continue };
        let file = files.value.certificate.display();
        match state(from, to, Timestamp::now()) {
            State::Good => {}
            State::Soon => log::warn!("the certificate `{file}` expires on {to}"),
            State::Early => log::error!("the certificate `{file}` is not valid before {from}"),
            State::Expired => log::error!("the certificate `{file}` has expired on {to}"),
        }
    }
}

#[derive(Debug, PartialEq, Eq)]
enum State {
    Good,
    Soon,
    Early,
    Expired,
}

fn state(from: Timestamp, to: Timestamp, now: Timestamp) -> State {
    if now > to {
        State::Expired
    } else if now < from {
        State::Early
    } else if to.duration_since(now) <= SOON {
        State::Soon
    } else {
        State::Good
    }
}

/// From when to when the leaf is valid; none where it cannot be read, which the listener says itself.
fn validity(files: &At<CertificateFiles>) -> Option<(Timestamp, Timestamp)> {
    let text = std::fs::read(&files.value.certificate).ok()?;
    let leaf = CertificateDer::pem_slice_iter(&text).next()?.ok()?;
    let (_, certificate) = X509Certificate::from_der(&leaf).ok()?;
    let validity = certificate.validity();
    let time = |seconds: i64| Timestamp::from_second(seconds).ok();
    Some((time(validity.not_before.timestamp())?, time(validity.not_after.timestamp())?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thirty_days_are_soon() {
        let day = SignedDuration::from_hours(24);
        let (from, now) = (Timestamp::UNIX_EPOCH, Timestamp::UNIX_EPOCH + day);
        for (days, expected) in
            [(31, State::Good), (30, State::Soon), (1, State::Soon), (0, State::Soon), (-1, State::Expired)]
        {
            assert_eq!(state(from, now + day * days, now), expected, "{days}");
        }
        assert_eq!(state(now + day, now + day * 99, now), State::Early);
    }
}
