//! Who may do what.
//!
//! PURE. Every request is asked here, in one place, before anything answers it. Tokens and keys come later; until then
//! the only policy there is keeps strangers out by where they are.

use std::net::IpAddr;

/// The policy of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    /// Whoever is on this machine may do everything, and nobody else anything.
    ThisMachine,
    /// Everybody may do everything: `auth = "off"`, written by the operator.
    Off,
}

/// What a request wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// To see pages, pictures and the state of streams.
    Watch,
    /// To read metrics and health.
    Observe,
}

impl Policy {
    /// Whether somebody at `peer` may do `action`.
    pub fn allows(self, peer: IpAddr, _action: Action) -> bool {
        match self {
            Self::Off => true,
            Self::ThisMachine => peer.to_canonical().is_loopback(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_authentication_only_this_machine_gets_in() {
        for (peer, inside) in
            [("127.0.0.1", true), ("::1", true), ("::ffff:127.0.0.1", true), ("10.0.0.5", false)]
        {
            let peer = peer.parse().expect("an address");
            assert_eq!(Policy::ThisMachine.allows(peer, Action::Watch), inside, "{peer}");
            assert!(Policy::Off.allows(peer, Action::Watch));
        }
    }
}
