//! Which certificates of clients a listener believes.

use crate::{conf::model::ClientAuth, pem};
use palisade_contract::ConfigError;
use rustls::{
    crypto::ring,
    pki_types::{CertificateDer, UnixTime},
    server::{WebPkiClientVerifier, danger::ClientCertVerifier},
};
use sha2::{Digest, Sha256};
use std::sync::Arc;

/// The rules of a listener. They are equal where they say the same of every certificate.
#[derive(Debug, Clone)]
pub(super) struct ClientRules {
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    /// Of all that was read.
    pub(super) digest: [u8; 32],
}

impl ClientRules {
    /// Reads the files that the rules are made of; what is wrong with them goes to the list.
    ///
    /// Revocation is asked of every certificate of a chain, and of each it must be known: what no list speaks of, or
    /// only one that is past its next update, is refused.
    pub(super) fn read(written: &ClientAuth, errors: &mut Vec<ConfigError>) -> Option<Self> {
        let mut digest = Sha256::new_with_prefix([u8::from(written.required)]);
        let read = pem::authorities(&written.ca).map_err(|error| errors.push(error)).ok();
        let mut lists = Vec::new();
        for file in &written.crl {
            match pem::revocations(file) {
                Ok(found) => lists.push((file, found)),
                Err(error) => errors.push(error),
            }
        }
        let (roots, found) = read?;
        let (roots, provider) = (Arc::new(roots), Arc::new(ring::default_provider()));
        let builder = || WebPkiClientVerifier::builder_with_provider(roots.clone(), provider.clone());
        found.iter().for_each(|certificate| part(&mut digest, certificate));
        let mut all = builder().enforce_revocation_expiration();
        for (file, found) in lists {
            // By itself, so that the error has a place.
            if let Err(error) = builder().with_crls(found.clone()).build() {
                let message = format!("`{}` cannot be used: {error}", file.value.display());
                let help = "write the path of a PEM file of lists that authorities in `ca` have signed";
                errors.push(ConfigError::at(&file.path, message).help(help).place(file.place.clone()));
            }
            digest.update([0]);
            found.iter().for_each(|list| part(&mut digest, list));
            all = all.with_crls(found);
        }
        let all = if written.required { all } else { all.allow_unauthenticated() };
        // A list that cannot be used was said above.
        all.build().ok().map(|verifier| ClientRules { verifier, digest: digest.finalize().into() })
    }

    /// True where a connection with this chain, or with none, would be let in now. A resumed session has been
    /// verified long ago: a certificate or a list may have expired since.
    pub(super) fn admit(&self, chain: Option<&[CertificateDer<'_>]>) -> bool {
        match chain.and_then(<[_]>::split_first) {
            None => !self.verifier.client_auth_mandatory(),
            Some((leaf, between)) => self.verifier.verify_client_cert(leaf, between, UnixTime::now()).is_ok(),
        }
    }
}

impl PartialEq for ClientRules {
    fn eq(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Lengths go in as well, so that different parts are never taken for the same whole.
pub(super) fn part(digest: &mut Sha256, bytes: &[u8]) {
    digest.update(bytes.len().to_be_bytes());
    digest.update(bytes);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::conf::model::At;
    use palisade_contract::Place;
    use rcgen::{
        BasicConstraints, CertificateParams, CertificateRevocationListParams, DnType, IsCa, Issuer,
        KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber,
    };
    use std::path::Path;

    /// A root, an authority below it, and a client's certificate of each.
    struct Chain {
        root: (rcgen::Certificate, Issuer<'static, KeyPair>),
        below: (rcgen::Certificate, Issuer<'static, KeyPair>),
        direct: rcgen::Certificate,
        leaf: rcgen::Certificate,
    }

    fn params(name: &str, serial: u64, authority: bool) -> CertificateParams {
        let mut params = CertificateParams::new([]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.serial_number = Some(SerialNumber::from(serial));
        if authority {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        params
    }

    fn chain() -> Chain {
        let [root_key, below_key, key] = [(); 3].map(|()| KeyPair::generate().unwrap());
        let root = params("root", 1, true).self_signed(&root_key).unwrap();
        let root_issuer = Issuer::new(params("root", 1, true), root_key);
        let below = params("below", 2, true).signed_by(&below_key, &root_issuer).unwrap();
        let below_issuer = Issuer::new(params("below", 2, true), below_key);
        Chain {
            direct: params("direct", 3, false).signed_by(&key, &root_issuer).unwrap(),
            leaf: params("leaf", 3, false).signed_by(&key, &below_issuer).unwrap(),
            root: (root, root_issuer),
            below: (below, below_issuer),
        }
    }

    /// A list in which `revoked` stands, good until a year.
    fn list(issuer: &Issuer<'static, KeyPair>, revoked: Option<u64>, until: i32) -> String {
        let (begun, end) = (rcgen::date_time_ymd(2000, 1, 1), rcgen::date_time_ymd(until, 1, 1));
        let entry = |serial| RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: begun,
            reason_code: None,
            invalidity_date: None,
        };
        let list = CertificateRevocationListParams {
            this_update: begun,
            next_update: end,
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.map(entry).into_iter().collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        list.signed_by(issuer).unwrap().pem().unwrap()
    }

    fn read(required: bool, ca: &str, lists: &[&str]) -> Result<ClientRules, Vec<ConfigError>> {
        let dir = tempfile::tempdir().unwrap();
        let file = |name: String, text: &str| {
            let path = dir.path().join(&name);
            std::fs::write(&path, text).unwrap();
            At { value: path, place: Place::of_file(Path::new("a.yaml")), path: name }
        };
        let crl = lists.iter().enumerate().map(|(index, text)| file(format!("crl{index}"), text)).collect();
        let mut errors = Vec::new();
        let rules = ClientRules::read(&ClientAuth { required, ca: file("ca".into(), ca), crl }, &mut errors);
        assert_eq!(rules.is_some(), errors.is_empty(), "{errors:?}");
        rules.ok_or(errors)
    }

    #[test]
    fn revocation_is_known_of_every_certificate_or_the_chain_is_refused() {
        let made = chain();
        let ca = made.root.0.pem();
        let of_root = |revoked| list(&made.root.1, revoked, 2999);
        let of_below = |revoked| list(&made.below.1, revoked, 2999);
        let (forged, old) = (list(&chain().root.1, None, 2999), list(&made.root.1, None, 2020));
        for (what, lists, direct, leaf) in [
            ("no lists", vec![], true, true),
            ("both", vec![of_root(None), of_below(None)], true, true),
            ("both in one file", vec![of_root(None) + &of_below(None)], true, true),
            ("the root's alone", vec![of_root(None)], true, false),
            ("the lower one's alone", vec![of_below(None)], false, false),
            ("the leaf revoked", vec![of_root(None), of_below(Some(3))], true, false),
            ("the other one revoked", vec![of_root(Some(3)), of_below(None)], false, true),
            ("the authority revoked", vec![of_root(Some(2)), of_below(None)], true, false),
            ("another serial revoked", vec![of_root(Some(9)), of_below(Some(9))], true, true),
            ("another key's list of that name", vec![forged, of_below(None)], false, false),
            ("past its next update", vec![old, of_below(None)], false, false),
        ] {
            let lists: Vec<&str> = lists.iter().map(String::as_str).collect();
            for required in [false, true] {
                let rules = read(required, &ca, &lists).unwrap();
                assert_eq!(rules.admit(Some(&[made.direct.der().clone()])), direct, "{what}");
                let chain = [made.leaf.der().clone(), made.below.0.der().clone()];
                assert_eq!(rules.admit(Some(&chain)), leaf, "{what}");
                assert_eq!((rules.admit(None), rules.admit(Some(&[]))), (!required, !required), "{what}");
            }
        }
    }

    #[test]
    fn six_certificates_may_stand_between_a_client_and_an_authority() {
        let mut key = KeyPair::generate().unwrap();
        let root = params("root", 1, true).self_signed(&key).unwrap();
        let rules = read(true, &root.pem(), &[]).unwrap();
        let (mut between, mut name) = (Vec::new(), "root".to_owned());
        for depth in 0..=7 {
            let issuer = Issuer::new(params(&name, 1, true), key);
            key = KeyPair::generate().unwrap();
            let leaf = params("leaf", 2, false).signed_by(&key, &issuer).unwrap();
            let mut chain = vec![leaf.der().clone()];
            chain.extend(between.iter().rev().cloned());
            assert_eq!(rules.admit(Some(&chain)), depth <= 6, "{depth}");
            name = format!("authority {depth}");
            between.push(params(&name, 1, true).signed_by(&key, &issuer).unwrap().der().clone());
        }
    }

    #[test]
    fn rules_are_the_same_where_all_they_read_is() {
        let (made, other) = (chain(), chain());
        let [ca, other_ca] = [&made, &other].map(|made| made.root.0.pem());
        let [one, two] = [None, Some(3)].map(|revoked| list(&made.root.1, revoked, 2999));
        let all = [
            (true, ca.clone(), vec![]),
            (false, ca.clone(), vec![]),
            (true, other_ca.clone(), vec![]),
            (true, ca.clone() + &other_ca, vec![]),
            (true, ca.clone(), vec![one.as_str()]),
            (true, ca.clone(), vec![two.as_str()]),
            (true, ca, vec![one.as_str(), two.as_str()]),
        ];
        for (left, (required, ca, lists)) in all.iter().enumerate() {
            let rules = read(*required, ca, lists).unwrap();
            for (right, (required, ca, lists)) in all.iter().enumerate() {
                assert_eq!(rules == read(*required, ca, lists).unwrap(), left == right, "{left} {right}");
            }
        }
    }

    #[test]
    fn everything_wrong_with_the_files_is_said_where_it_is_written() {
        let made = chain();
        let ca = made.root.0.pem();
        let good = list(&made.root.1, None, 2999);
        let broken = "-----BEGIN X509 CRL-----\nMAA=\n-----END X509 CRL-----\n";
        let errors = read(true, &ca, &["", &good, &ca, broken]).unwrap_err();
        let places: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(places, ["crl0", "crl2", "crl3"], "{errors:?}");
        let errors = read(true, "", &[""]).unwrap_err();
        let places: Vec<_> = errors.iter().map(|error| error.path.as_str()).collect();
        assert_eq!(places, ["ca", "crl0"], "{errors:?}");
    }
}
