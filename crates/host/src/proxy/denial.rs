//! The reasons why the network option refuses a destination, as text for the server's event, for the program, and in
//! short for a response's status line, which npm, pip and wget print.

use std::net::IpAddr;

/// A reason. `kind` is the kind of an address, such as "a private address".
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Denial {
    /// No entry contains it.
    NotListed,
    /// An entry contains it, but the entry is wider than the block of such addresses.
    TooWide { kind: &'static str },
    /// The name is listed, but its address is not.
    LeadsTo { address: IpAddr, kind: &'static str },
    /// With `"public"`: the address is not public.
    NotPublic { kind: &'static str },
    /// With `"public"`: the name resolves to an address that is not public.
    LeadsToNotPublic { address: IpAddr, kind: &'static str },
    /// With `"public"`: the name has a meaning only on this host or in its networks.
    NotPublicName,
}

const PUBLIC_ALONE: &str = "network \"public\" reaches public addresses alone";

impl Denial {
    /// Completes the sentence "the network option refuses it: …", for the server.
    pub fn reason(self) -> String {
        match self {
            Self::NotListed => "it is not in the list of allowed destinations".into(),
            Self::TooWide { kind } => {
                format!("it is {kind}, which only an entry for it or for a range of such addresses allows")
            }
            Self::LeadsTo { address, kind } => {
                format!(
                    "its address {address} is {kind}, and that is not in the list of allowed destinations"
                )
            }
            Self::NotPublic { kind } => format!("it is {kind}, and {PUBLIC_ALONE}"),
            Self::LeadsToNotPublic { address, kind } => {
                format!("its address {address} is {kind}, and {PUBLIC_ALONE}")
            }
            Self::NotPublicName => format!("it is not a public name, and {PUBLIC_ALONE}"),
        }
    }

    /// The same for the program. With `"public"`, a program may ask for every name that the host's resolver knows, so
    /// the text must not reveal the addresses of names in private networks.
    pub fn reason_inside(self) -> String {
        match self {
            Self::LeadsToNotPublic { kind, .. } => format!("it leads to {kind}, and {PUBLIC_ALONE}"),
            other => other.reason(),
        }
    }

    /// A few words to put before the destination.
    pub fn phrase(self) -> String {
        match self {
            Self::NotListed => "not in network.allow".into(),
            Self::TooWide { kind } => format!("not in network.allow as {kind}"),
            Self::LeadsTo { kind, .. } => format!("leads to {kind} that is not in network.allow"),
            Self::NotPublic { kind } => format!("not public but {kind}"),
            Self::LeadsToNotPublic { kind, .. } => format!("leads to {kind}, not to a public one"),
            Self::NotPublicName => "not a public name".into(),
        }
    }
}
