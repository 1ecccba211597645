//! Who may do what.
//!
//! PURE. Every request is asked here, in one place, before anything answers it. Tokens and keys come later; until then
//! the only policy there is keeps strangers out by where they are.

use std::net::IpAddr;

/// The policy of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Whoever is on this machine may do everything, and nobody else anything: neither another machine, nor a page from
    /// elsewhere that this machine's browser shows.
    ThisMachine,
    /// Everybody may do everything: `auth = "off"`, written by the operator.
    Off,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To see pictures.
    Watch,
    /// To see pages and the state of streams.
    Look,
    /// To read metrics and health.
    Observe,
}

/// Who asks.
#[derive(Clone, Copy, Debug)]
pub struct Asker<'a> {
    /// The other end of the connection.
    pub peer: IpAddr,
    /// What the request takes this server to be called: `Host`.
    pub host: Option<&'a str>,
    /// Where the page that asks comes from, if a page does: `Origin`.
    pub origin: Option<&'a str>,
}

/// Why not.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// From another machine.
    #[error("this server only answers to the machine it runs on (auth = \"off\" changes that)")]
    Peer,
    /// By a name that is not this machine's: DNS rebinding, or a reverse proxy that passes the name on.
    #[error(
        "this server only answers as localhost; behind a reverse proxy, let it send Host: localhost, or set auth = \"off\" \
         and see to access there"
    )]
    Host,
    /// From a page of somebody else's.
    #[error("pages from elsewhere may not watch here (auth = \"off\" changes that)")]
    Origin,
}

/// Whether whoever gave `given` may publish a stream. `stream` is none where no such stream is published, and holds its
/// key where it has one.
pub fn may_publish(stream: Option<Option<&str>>, given: Option<&str>) -> bool {
    match stream {
        None => false,
        Some(None) => true,
        Some(Some(key)) => given.is_some_and(|given| same(key.as_bytes(), given.as_bytes())),
    }
}

/// Compares in a time that only depends on the lengths.
fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && a.iter().zip(b).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
}

impl Policy {
    /// Whether `asker` may do `action`.
    pub fn allows(self, asker: &Asker<'_>, action: Action) -> Result<(), Denied> {
        if self == Self::Off {
            return Ok(());
        }
        if !asker.peer.to_canonical().is_loopback() {
            return Err(Denied::Peer);
        }
        if !asker.host.is_none_or(is_this_machine) {
            return Err(Denied::Host);
        }
        // Scripts and pages' state are protected by the browser's own rules; a WebSocket is not.
        let from_here = |origin: &str| match origin.split_once("://") {
            Some(("file", _)) => true, // a page opened from this machine's disk
            Some((_, authority)) => is_this_machine(authority),
            None => false,
        };
        if action == Action::Watch && !asker.origin.is_none_or(from_here) {
            return Err(Denied::Origin);
        }
        Ok(())
    }
}

/// Whether `authority`, a host with or without port, is a loopback address or the name every machine has for itself.
fn is_this_machine(authority: &str) -> bool {
    let host = match authority.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => authority.split(':').next().unwrap_or_default(),
    };
    host.eq_ignore_ascii_case("localhost") || host.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asker<'a>(peer: &str, host: Option<&'a str>, origin: Option<&'a str>) -> Asker<'a> {
        Asker { peer: peer.parse().expect("an address"), host, origin }
    }

    #[test]
    fn without_authentication_only_this_machine_gets_in() {
        for (peer, answer) in [
            ("127.0.0.1", Ok(())),
            ("::1", Ok(())),
            ("::ffff:127.0.0.1", Ok(())),
            ("10.0.0.5", Err(Denied::Peer)),
        ] {
            let asker = asker(peer, None, None);
            assert_eq!(Policy::ThisMachine.allows(&asker, Action::Look), answer, "{peer}");
            assert_eq!(Policy::Off.allows(&asker, Action::Look), Ok(()));
        }
    }

    #[test]
    fn a_name_that_was_pointed_at_this_machine_does_not_get_in() {
        for (host, answer) in [
            ("localhost:8080", Ok(())),
            ("127.0.0.1:8080", Ok(())),
            ("[::1]:8080", Ok(())),
            ("evil.example:8080", Err(Denied::Host)),
            ("localhost.evil.example", Err(Denied::Host)),
            ("", Err(Denied::Host)),
        ] {
            assert_eq!(
                Policy::ThisMachine.allows(&asker("127.0.0.1", Some(host), None), Action::Look),
                answer,
                "{host}"
            );
        }
    }

    #[test]
    fn only_the_streams_own_key_lets_publish() {
        for (stream, given, answer) in [
            (None, None, false),
            (None, Some("k"), false),
            (Some(None), None, true),
            (Some(None), Some("k"), true),
            (Some(Some("key")), None, false),
            (Some(Some("key")), Some(""), false),
            (Some(Some("key")), Some("kez"), false),
            (Some(Some("key")), Some("keys"), false),
            (Some(Some("key")), Some("key"), true),
        ] {
            assert_eq!(may_publish(stream, given), answer, "{stream:?} {given:?}");
        }
    }

    #[test]
    fn a_page_from_elsewhere_does_not_get_at_the_pictures() {
        for (origin, answer) in [
            ("http://127.0.0.1:3000", Ok(())),
            ("http://localhost", Ok(())),
            ("file://", Ok(())),
            ("https://evil.example", Err(Denied::Origin)),
            ("https://127.0.0.1.evil.example", Err(Denied::Origin)),
            ("null", Err(Denied::Origin)),
        ] {
            let asker = asker("127.0.0.1", Some("127.0.0.1:8080"), Some(origin));
            assert_eq!(Policy::ThisMachine.allows(&asker, Action::Watch), answer, "{origin}");
            assert_eq!(Policy::Off.allows(&asker, Action::Watch), Ok(()));
        }
    }
}
