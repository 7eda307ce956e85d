//! An authority for certificates of clients.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
    KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
};
use std::{
    sync::atomic::{AtomicU64, Ordering},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

/// A time as certificates have it. A macro, as its type is of a crate that nothing else needs.
macro_rules! date {
    ($time:expr) => {{
        let since: Duration = $time.duration_since(UNIX_EPOCH).unwrap();
        rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(since.as_secs())
    }};
}

/// An authority.
pub struct Authority {
    pub certificate: Certificate,
    issuer: Issuer<'static, KeyPair>,
}

/// A certificate that an authority has signed.
pub struct Signed {
    pub authority: Certificate,
    pub leaf: Certificate,
    pub key: KeyPair,
    serial: u64,
}

impl Authority {
    pub fn new(name: &str) -> Authority {
        let mut params = CertificateParams::new([]).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let certificate = params.self_signed(&key).unwrap();
        Authority { certificate, issuer: Issuer::new(params, key) }
    }

    pub fn sign(&self, name: &str) -> Signed {
        self.made(name, |_| {})
    }

    pub fn sign_until(&self, name: &str, end: SystemTime) -> Signed {
        self.made(name, |params| params.not_after = date!(end))
    }

    pub fn made(&self, name: &str, change: impl Fn(&mut CertificateParams)) -> Signed {
        static SERIAL: AtomicU64 = AtomicU64::new(1);
        let (key, serial) = (KeyPair::generate().unwrap(), SERIAL.fetch_add(1, Ordering::Relaxed));
        let mut params = CertificateParams::new([name.to_owned()]).unwrap();
        params.serial_number = Some(SerialNumber::from(serial));
        change(&mut params);
        let leaf = params.signed_by(&key, &self.issuer).unwrap();
        Signed { authority: self.certificate.clone(), leaf, key, serial }
    }

    /// A list of revoked certificates, good until `end`; PEM.
    pub fn revoke(&self, revoked: &[&Signed], end: SystemTime) -> String {
        let begun = date!(UNIX_EPOCH);
        let entry = |signed: &&Signed| RevokedCertParams {
            serial_number: SerialNumber::from(signed.serial),
            revocation_time: begun,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: begun,
            next_update: date!(end),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.iter().map(entry).collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
