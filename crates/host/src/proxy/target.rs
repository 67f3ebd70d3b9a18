//! The destination that a program asks the proxy for.

use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// A destination.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ProxyTarget {
    pub host: TargetHost,
    pub port: u16,
}

/// A host as the program names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TargetHost {
    /// In lower case, without a trailing dot.
    Name(String),
    Address(IpAddr),
}

impl TargetHost {
    /// Parses an address (IPv6 with or without brackets), or a name of at most 253 letters, digits, hyphens,
    /// underscores and dots; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        if let Some(inner) = text.strip_prefix('[') {
            return inner
                .strip_suffix(']')?
                .parse()
                .ok()
                .map(IpAddr::V6)
                .map(Self::Address);
        }
        if let Ok(address) = text.parse() {
            return Some(Self::Address(address));
        }
        let name = text.strip_suffix('.').unwrap_or(text).to_ascii_lowercase();
        let is_label = |label: &str| {
            (1..=63).contains(&label.len())
                && label
                    .bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_'))
        };
        (name.len() <= 253 && name.split('.').all(is_label)).then_some(Self::Name(name))
    }
}

impl fmt::Display for TargetHost {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Address(address) => write!(f, "{address}"),
        }
    }
}

impl fmt::Display for ProxyTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.host {
            TargetHost::Address(address) => write!(f, "{}", SocketAddr::new(*address, self.port)),
            TargetHost::Name(name) => write!(f, "{name}:{}", self.port),
        }
    }
}
