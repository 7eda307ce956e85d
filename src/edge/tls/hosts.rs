//! Which hosts a TLS connection may be used for (RFC 9110 §7.4 and §15.5.20).

use super::{certificates::Certificates, server_name};
use std::sync::Arc;

/// Which hosts the connections of a listener may be used for.
#[derive(Debug)]
pub struct Hosts {
    certificates: Arc<Certificates>,
    /// True where clients are asked for certificates.
    asks: bool,
    /// Those of other listeners, where clients are asked by other rules.
    elsewhere: Vec<Arc<Certificates>>,
}

impl Hosts {
    pub(super) fn new(
        certificates: Arc<Certificates>,
        asks: bool,
        elsewhere: Vec<Arc<Certificates>>,
    ) -> Self {
        Hosts { certificates, asks, elsewhere }
    }

    /// True where a connection that asked for `sni` may be used for `host` (lower case, without port and final dot).
    /// `relayed`: it is a trusted proxy's own, which has named the proxy's way here and not what its clients want.
    ///
    /// A host that the certificates of another listener name more closely belongs there: it is not reached around that
    /// listener's client certificates. Of this listener's hosts the connection has chosen by SNI, and where clients
    /// show certificates they have done so to that name alone.
    pub fn allow(&self, sni: Option<&str>, host: &str, relayed: bool) -> bool {
        if !self.elsewhere.is_empty() {
            let here = self.certificates.naming(host);
            if self.elsewhere.iter().any(|other| other.naming(host) > here) {
                return false;
            }
        }
        if relayed {
            return true;
        }
        match sni.map(server_name) {
            Some(sni) if sni == host => true,
            Some(_) if self.asks => false,
            Some(sni) => self.same_certificate(Some(&sni), host),
            // Who connects to an address has said no name that a host could disagree with.
            None => !self.asks || self.same_certificate(None, host),
        }
    }

    fn same_certificate(&self, sni: Option<&str>, host: &str) -> bool {
        match (self.certificates.choose(sni), self.certificates.choose(Some(host))) {
            (Some(shown), Some(meant)) => Arc::ptr_eq(shown, meant),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::edge::tls::certificates::tests::certificates;

    #[test]
    fn a_connection_is_for_what_its_certificate_is_for() {
        let own = certificates(&[&["a.test", "b.test"], &["*.c.test"], &["x.c.test"]]);
        let hosts = Hosts::new(own, false, Vec::new());
        for (sni, host, allowed) in [
            (Some("a.test"), "a.test", true),
            (Some("A.Test."), "a.test", true),
            // One certificate for both: a client may use the connection for either (RFC 9113 §9.1.1).
            (Some("a.test"), "b.test", true),
            (Some("y.c.test"), "z.c.test", true),
            // There is another certificate for it.
            (Some("y.c.test"), "x.c.test", false),
            (Some("x.c.test"), "y.c.test", false),
            (Some("a.test"), "x.c.test", false),
            // For these there is none, and the first one was or was not shown.
            (Some("unknown.test"), "other.test", true),
            (Some("a.test"), "127.0.0.1", true),
            (Some("unknown.test"), "a.test", true),
            (Some("x.c.test"), "other.test", false),
            (Some("x.c.test"), "d.x.c.test", false),
            // No name was said.
            (None, "127.0.0.1", true),
            (None, "[::1]", true),
            (None, "x.c.test", true),
        ] {
            assert_eq!(hosts.allow(sni, host, false), allowed, "{sni:?} {host}");
            assert!(hosts.allow(sni, host, true), "{sni:?} {host}");
        }
    }

    #[test]
    fn where_clients_show_certificates_the_host_is_what_sni_said() {
        let own = certificates(&[&["a.test", "b.test"], &["c.test"]]);
        let hosts = Hosts::new(own, true, Vec::new());
        for (sni, host, allowed) in [
            (Some("a.test"), "a.test", true),
            (Some("A.Test."), "a.test", true),
            (Some("a.test"), "b.test", false),
            (Some("a.test"), "127.0.0.1", false),
            (Some("a.test"), "", false),
            (Some("unknown.test"), "unknown.test", true),
            (Some("unknown.test"), "a.test", false),
            // The first certificate was shown: what it is for, and what none is for.
            (None, "127.0.0.1", true),
            (None, "a.test", true),
            (None, "c.test", false),
        ] {
            assert_eq!(hosts.allow(sni, host, false), allowed, "{sni:?} {host}");
            assert!(hosts.allow(sni, host, true), "{sni:?} {host}");
        }
    }

    #[test]
    fn a_host_is_not_reached_around_the_listener_that_it_belongs_to() {
        let own = certificates(&[&["*.a.test"], &["both.a.test"]]);
        let elsewhere = certificates(&[&["admin.a.test", "both.a.test", "b.test", "*.c.test"]]);
        for asks in [false, true] {
            let hosts = Hosts::new(own.clone(), asks, vec![elsewhere.clone()]);
            for (host, allowed) in [
                ("shop.a.test", true),
                // As closely named here.
                ("both.a.test", true),
                ("admin.a.test", false),
                ("b.test", false),
                ("x.c.test", false),
                ("c.test", true),
                ("x.y.c.test", true),
                ("127.0.0.1", true),
            ] {
                for (sni, relayed) in [(Some(host), false), (Some(host), true), (None, true)] {
                    assert_eq!(hosts.allow(sni, host, relayed), allowed, "{sni:?} {host}");
                }
            }
            assert!(!hosts.allow(None, "admin.a.test", false));
        }
    }
}
