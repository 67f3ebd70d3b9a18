//! The destinations that the network option allows. Names are in lower case.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::address::{destination, special};
use super::denial::Denial;
use super::interfaces;

/// One entry of the list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// The destination.
    pub destination: Destination,
    /// The port; `None` for all ports.
    pub port: Option<u16>,
}

/// The destination of an entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// This host name.
    Name(String),
    /// Every name below this domain, at any depth, but not the domain itself.
    SubdomainsOf(String),
    /// These addresses.
    Addresses(AddressRange),
    /// All public addresses, and the names that resolve to them.
    Public,
}

/// All addresses that begin with the same bits.
///
/// A range allows an address that is not public only if the range is wholly within that address's block: the author of
/// `0.0.0.0/0` means the internet, not the host's loopback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    shift: u32,
}

impl AddressRange {
    /// The addresses that share the first `prefix_length` bits of `address`. A larger number than the address has bits
    /// means the address alone.
    #[must_use]
    pub fn new(address: IpAddr, prefix_length: u8) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            shift: u32::saturating_sub(bits, prefix_length.into()),
        }
    }

    fn prefix_length(self) -> u32 {
        (if self.address.is_ipv4() { 32 } else { 128 }) - self.shift
    }

    /// Whether the two ranges have an address in common.
    fn meets(self, other: Self) -> bool {
        self.contains(other.address) || other.contains(self.address)
    }

    fn contains(self, other: IpAddr) -> bool {
        // Rust does not allow a shift by all bits, so the shift is checked.
        match (self.address, other) {
            (IpAddr::V4(one), IpAddr::V4(other)) => {
                (one.to_bits() ^ other.to_bits())
                    .checked_shr(self.shift)
                    .unwrap_or(0)
                    == 0
            }
            (IpAddr::V6(one), IpAddr::V6(other)) => {
                (one.to_bits() ^ other.to_bits())
                    .checked_shr(self.shift)
                    .unwrap_or(0)
                    == 0
            }
            _ => false,
        }
    }
}

impl Rule {
    fn has_port(&self, port: u16) -> bool {
        self.port.is_none_or(|own| own == port)
    }

    fn matches_name(&self, name: &str) -> bool {
        match &self.destination {
            Destination::Name(own) => own == name,
            Destination::SubdomainsOf(domain) => name
                .strip_suffix(domain.as_str())
                .and_then(|rest| rest.strip_suffix('.'))
                .is_some_and(|rest| !rest.is_empty()),
            Destination::Addresses(_) | Destination::Public => false,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        matches!(&self.destination, Destination::Addresses(range) if range.contains(address))
    }

    /// Whether a range of this entry contains `address` and has a prefix of at least `prefix_length`.
    fn reaches(&self, address: IpAddr, prefix_length: u32) -> bool {
        matches!(&self.destination, Destination::Addresses(range)
            if range.contains(address) && range.prefix_length() >= prefix_length)
    }

    fn speaks_of_loopback(&self) -> bool {
        self.matches_name(LOCALHOST)
            || matches!(self.destination, Destination::Addresses(range)
                if range.meets(LOOPBACK_V4)
                    || range.contains(Ipv6Addr::LOCALHOST.into()))
    }

    /// Whether this entry allows an address of `block`, which is not public, at any port.
    pub(super) fn reaches_into(&self, block: AddressRange) -> bool {
        matches!(self.destination, Destination::Addresses(range)
            if range.meets(block) && range.prefix_length() >= block.prefix_length())
    }

    /// Whether this entry is for the host `host` (a name or a loopback address), at any port.
    pub(super) fn names(&self, host: &str) -> bool {
        self.matches_name(host)
            || host.parse().is_ok_and(|address| {
                let prefix_length = special(address).map_or(0, |special| special.prefix_length);
                self.reaches(address, prefix_length)
            })
    }
}

/// The block of loopback addresses (RFC 1122, 3.2.1.3).
pub(super) const LOOPBACK_V4: AddressRange = AddressRange {
    address: IpAddr::V4(Ipv4Addr::LOCALHOST),
    shift: 24,
};

/// The host's name for itself, which every resolver maps to the loopback.
const LOCALHOST: &str = "localhost";

/// Domains that are not in the public DNS but reserved for private networks: RFC 6762, ICANN's resolution
/// 2024.07.29.06, RFC 8375.
const PRIVATE_DOMAINS: [&str; 3] = [".local", ".internal", ".home.arpa"];

/// Whether a name has a meaning only on this host or in its networks. A name of a single label is looked up in the
/// host's search domains.
fn is_private_name(name: &str) -> bool {
    !name.contains('.') || PRIVATE_DOMAINS.iter().any(|domain| name.ends_with(domain))
}

/// The kind of an address that one of the host's interfaces has, to complete the sentence "it is …".
const OWN: &str = "an address of the host itself";

/// All entries of the option.
#[derive(Debug, Clone)]
pub struct Rules {
    rules: Vec<Rule>,
    is_own: fn(IpAddr) -> bool,
}

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self {
            rules,
            is_own: interfaces::lead_to,
        }
    }

    /// Whether `name` is listed. Only a listed name may be looked up, because a look-up sends a message to that
    /// domain's server.
    pub fn list_name(&self, name: &str, port: u16) -> bool {
        self.rules
            .iter()
            .any(|rule| rule.has_port(port) && rule.matches_name(name))
    }

    /// Whether `address` is listed, by itself or by a range that may allow it.
    pub fn list_address(&self, address: IpAddr, port: u16) -> bool {
        let held_by = |rule: &&Rule| rule.has_port(port) && rule.contains(address);
        // Most addresses are in no entry, which ends the check early.
        let mut holding = self.rules.iter().filter(held_by).peekable();
        if holding.peek().is_none() {
            return false;
        }
        let (_, prefix_length) = self.not_public(address).unwrap_or(("", 0));
        holding.any(|rule| rule.reaches(address, prefix_length))
    }

    /// Why `address`, to which the listed `name` resolved, is refused. The name's server could direct it anywhere, so
    /// an address that is not public must itself be listed.
    pub fn object(&self, name: &str, address: IpAddr, port: u16) -> Option<Denial> {
        let (kind, _) = self.not_public(address)?;
        let own_loopback = name == LOCALHOST && address.is_loopback();
        (!own_loopback && !self.list_address(address, port)).then_some(Denial::LeadsTo { address, kind })
    }

    /// Why `address`, to which an unlisted name resolved, is refused.
    pub fn object_to_public(&self, address: IpAddr) -> Option<Denial> {
        let (kind, _) = self.not_public(address)?;
        Some(Denial::LeadsToNotPublic { address, kind })
    }

    /// Why an `address` that is not listed is refused; `None` if it is public and all public addresses are allowed.
    pub fn deny_address(&self, address: IpAddr, port: u16) -> Option<Denial> {
        let not_public = self.not_public(address).map(|(kind, _)| kind);
        let held = |rule: &Rule| rule.has_port(port) && rule.contains(address);
        match not_public {
            Some(kind) if self.rules.iter().any(held) => Some(Denial::TooWide { kind }),
            Some(kind) if self.open_internet(port) => Some(Denial::NotPublic { kind }),
            None if self.open_internet(port) => None,
            _ => Some(Denial::NotListed),
        }
    }

    /// Why a `name` that is not listed may not be looked up; `None` if public names are allowed.
    pub fn deny_name(&self, name: &str, port: u16) -> Option<Denial> {
        if !self.open_internet(port) {
            Some(Denial::NotListed)
        } else if is_private_name(name) {
            Some(Denial::NotPublicName)
        } else {
            None
        }
    }

    fn open_internet(&self, port: u16) -> bool {
        let is_public = |rule: &Rule| rule.destination == Destination::Public && rule.has_port(port);
        self.rules.iter().any(is_public)
    }

    /// Whether an entry is for the host's loopback, at any port: by name, or by a range that contains it.
    pub fn speak_of_loopback(&self) -> bool {
        self.rules.iter().any(Rule::speaks_of_loopback)
    }

    /// The kind of an `address` that is not public, and the minimum prefix length of a range that allows it. An address
    /// of the host itself counts as not public: a service there may rely on a firewall that does not filter the host's
    /// connections to itself.
    fn not_public(&self, address: IpAddr) -> Option<(&'static str, u32)> {
        let found = special(address).map(|special| (special.kind, special.prefix_length));
        let arrives = destination(address);
        // An interface's private address gets no exception: a range of private addresses contains it.
        if (found.is_some() && arrives == address) || special(arrives).is_some() || !(self.is_own)(arrives) {
            return found;
        }
        Some((OWN, if address.is_ipv4() { 32 } else { 128 }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: &str, prefix_length: u8) -> Destination {
        Destination::Addresses(AddressRange::new(address.parse().expect(address), prefix_length))
    }

    fn rules<const N: usize>(rules: [(Destination, Option<u16>); N]) -> Rules {
        Rules {
            rules: rules.map(|(destination, port)| Rule { destination, port }).into(),
            is_own: |address| address == IpAddr::from([93, 184, 216, 1]),
        }
    }

    fn ip(text: &str) -> IpAddr {
        text.parse().expect(text)
    }

    #[test]
    fn a_name_is_that_name_alone() {
        let rules = rules([(Destination::Name("example.com".into()), Some(443))]);
        assert!(rules.list_name("example.com", 443));
        for (name, port) in [
            ("example.com", 80),
            ("www.example.com", 443),
            ("example.com.evil.test", 443),
            ("notexample.com", 443),
            ("example.co", 443),
            ("", 443),
        ] {
            assert!(!rules.list_name(name, port), "{name}:{port}");
        }
    }

    #[test]
    fn subdomains_are_those_of_any_depth_and_not_the_domain() {
        let rules = rules([(Destination::SubdomainsOf("github.com".into()), None)]);
        for name in ["api.github.com", "a.b.github.com"] {
            assert!(rules.list_name(name, 1), "{name}");
        }
        for name in [
            "github.com",
            ".github.com",
            "evilgithub.com",
            "github.com.evil.test",
            "api.github.comx",
        ] {
            assert!(!rules.list_name(name, 1), "{name}");
        }
    }

    #[test]
    fn a_range_holds_what_shares_its_bits() {
        let rules = rules([
            (range("10.1.2.3", 8), Some(5432)),
            (range("192.168.7.9", 32), None),
            (range("fd00::", 8), None),
        ]);
        for (address, port) in [
            ("10.0.0.0", 5432),
            ("10.255.255.255", 5432),
            ("192.168.7.9", 1),
            ("fdab::1", 1),
        ] {
            assert!(rules.list_address(ip(address), port), "{address}");
        }
        for (address, port) in [
            ("10.0.0.0", 80),
            ("11.0.0.0", 5432),
            ("192.168.7.8", 1),
            ("fc00::1", 1),
            ("::ffff:10.0.0.1", 5432),
            ("::ffff:192.168.7.9", 1),
        ] {
            assert!(!rules.list_address(ip(address), port), "{address}");
        }
    }

    #[test]
    fn a_range_reaches_addresses_that_are_not_public_only_from_within_their_block() {
        for (address, reaching, not_reaching) in [
            ("127.0.0.1", &[8, 9, 32][..], &[0, 1, 7][..]),
            ("0.0.0.0", &[8, 32], &[0, 7]),
            ("10.0.0.1", &[8, 24, 32], &[0, 7]),
            ("172.16.0.1", &[12, 32], &[0, 11]),
            ("192.168.0.1", &[16, 24], &[0, 15]),
            ("100.64.0.1", &[10], &[0, 9]),
            ("169.254.1.1", &[16], &[0, 15]),
            ("169.254.169.254", &[32], &[0, 16, 31]),
            ("100.100.100.200", &[32], &[10, 31]),
            ("198.18.0.1", &[15], &[0, 14]),
            ("192.0.2.1", &[24], &[23]),
            ("224.0.0.1", &[4], &[3]),
            ("255.255.255.255", &[4], &[3]),
            ("::1", &[128], &[0, 1, 8, 127]),
            ("::", &[128], &[0, 127]),
            ("fd00::1", &[7, 8], &[0, 6]),
            ("fd00:ec2::254", &[128], &[7, 8, 127]),
            ("fe80::1", &[10], &[9]),
            ("ff02::1", &[8], &[7]),
            ("2001:db8::1", &[32], &[3, 31]),
            ("100::1", &[8, 64], &[0, 7]),
            // With an IPv4 address inside, the block of that address counts.
            ("::ffff:127.0.0.1", &[104, 128], &[0, 80, 96, 103]),
            ("::ffff:169.254.169.254", &[128], &[96, 112]),
            ("::ffff:8.8.8.8", &[96], &[0, 95]),
            ("64:ff9b::10.0.0.1", &[104], &[0, 96]),
            ("64:ff9b:1::10.0.0.1", &[128], &[48, 96, 127]),
            ("2002:7f00:1::1", &[24, 48], &[0, 16, 23]),
            ("2002:808:808::1", &[16], &[15]),
            ("2001:0:1:2::1", &[128], &[32, 127]),
            ("::127.0.0.1", &[128], &[96, 127]),
            ("::ffff:0:127.0.0.1", &[128], &[96, 127]),
            // Public addresses.
            ("8.8.8.8", &[0, 1, 8, 32], &[]),
            ("2606:4700::1111", &[0, 3, 128], &[]),
            // The host's own addresses.
            ("93.184.216.1", &[32], &[0, 8, 31]),
            ("::ffff:93.184.216.1", &[128], &[96, 127]),
            ("2002:5db8:d801::1", &[128], &[16, 48]),
        ] {
            let reaches = |length: &u8| rules([(range(address, *length), None)]).list_address(ip(address), 1);
            for length in reaching {
                assert!(reaches(length), "{address}/{length} reaches {address}");
            }
            for length in not_reaching {
                assert!(!reaches(length), "{address}/{length} does not reach {address}");
                let wide = rules([(range(address, *length), None)]);
                assert!(matches!(
                    wide.deny_address(ip(address), 1),
                    Some(Denial::TooWide { .. })
                ));
                let name = Destination::Name("a.test".into());
                let named = rules([(name, None), (range(address, *length), None)]);
                assert!(named.object("a.test", ip(address), 1).is_some());
            }
        }
    }

    #[test]
    fn a_listed_name_may_be_at_public_addresses_only_unless_the_address_is_listed_too() {
        let rules = rules([
            (Destination::Name("db.test".into()), None),
            (range("10.0.0.5", 32), Some(5432)),
        ]);
        assert_eq!(rules.object("db.test", ip("93.184.216.34"), 443), None);
        assert_eq!(rules.object("db.test", ip("10.0.0.5"), 5432), None);
        for (address, port) in [
            ("10.0.0.5", 22),
            ("10.0.0.6", 5432),
            ("169.254.169.254", 80),
            ("::1", 80),
        ] {
            assert!(
                rules.object("db.test", ip(address), port).is_some(),
                "{address}:{port}"
            );
        }
    }

    #[test]
    fn localhost_is_the_hosts_loopback_and_nothing_else_of_it() {
        let rules = rules([(Destination::Name("localhost".into()), None)]);
        assert_eq!(rules.object("localhost", ip("127.0.0.1"), 80), None);
        assert_eq!(rules.object("localhost", ip("::1"), 80), None);
        assert!(rules.object("localhost", ip("10.0.0.1"), 80).is_some());
        assert!(rules.object("other.test", ip("127.0.0.1"), 80).is_some());
        assert!(!rules.list_address(ip("127.0.0.1"), 80));
    }

    #[test]
    fn an_entry_names_the_loopback_where_it_lists_it() {
        let rule = |destination| Rule {
            destination,
            port: Some(1),
        };
        assert!(rule(Destination::Name("localhost".into())).names("localhost"));
        assert!(rule(range("127.0.0.0", 8)).names("127.0.0.1"));
        assert!(rule(range("::1", 128)).names("::1"));
        assert!(!rule(range("127.0.0.1", 32)).names("localhost"));
        assert!(!rule(range("0.0.0.0", 0)).names("127.0.0.1"));
    }

    #[test]
    fn public_is_every_public_address_and_every_name_that_may_lead_to_one() {
        let rules = rules([(Destination::Public, None)]);
        for address in ["8.8.8.8", "2606:4700::1111", "64:ff9b::8.8.8.8"] {
            assert_eq!(rules.deny_address(ip(address), 25), None, "{address}");
            assert_eq!(rules.object_to_public(ip(address)), None, "{address}");
            // It is not listed as an address, so that the VM's own names have precedence.
            assert!(!rules.list_address(ip(address), 25));
        }
        for address in [
            "127.0.0.1",
            "10.0.0.1",
            "169.254.169.254",
            "168.63.129.16",
            "93.184.216.1",
            "::ffff:8.8.8.8",
            "64:ff9b::10.0.0.1",
            "64:ff9b::93.184.216.1",
            "2002:808:808::1",
        ] {
            let address = ip(address);
            assert!(
                matches!(rules.deny_address(address, 443), Some(Denial::NotPublic { .. })),
                "{address}"
            );
            assert!(rules.object_to_public(address).is_some(), "{address}");
        }
        for name in [
            "example.com",
            "xn--p1ai.test",
            "internal.example",
            "local.example.org",
            "1.2.3",
        ] {
            assert_eq!(rules.deny_name(name, 443), None, "{name}");
            assert!(!rules.list_name(name, 443));
        }
        for name in [
            "localhost",
            "intranet",
            "db.internal",
            "metadata.google.internal",
            "a.local",
            "home.home.arpa",
        ] {
            assert_eq!(rules.deny_name(name, 443), Some(Denial::NotPublicName), "{name}");
        }
        assert!(!rules.speak_of_loopback());
    }

    #[test]
    fn without_public_what_is_not_listed_is_denied_as_that() {
        let rules = rules([(Destination::Name("example.com".into()), Some(443))]);
        assert_eq!(rules.deny_name("other.com", 443), Some(Denial::NotListed));
        assert_eq!(rules.deny_address(ip("8.8.8.8"), 443), Some(Denial::NotListed));
        assert_eq!(rules.deny_address(ip("10.0.0.1"), 443), Some(Denial::NotListed));
    }

    #[test]
    fn entries_for_the_loopback_are_known_from_others() {
        let speak = |destination| rules([(destination, Some(1))]).speak_of_loopback();
        for (address, length) in [
            ("127.0.0.1", 32),
            ("127.9.9.9", 32),
            ("127.0.0.0", 8),
            ("0.0.0.0", 0),
            ("::1", 128),
            ("::", 0),
        ] {
            assert!(speak(range(address, length)), "{address}/{length}");
        }
        assert!(speak(Destination::Name("localhost".into())));
        for (address, length) in [("10.0.0.0", 8), ("128.0.0.0", 1), ("fe80::", 10)] {
            assert!(!speak(range(address, length)), "{address}/{length}");
        }
        assert!(!speak(Destination::Name("localhost.test".into())));
        assert!(!speak(Destination::SubdomainsOf("test".into())));
    }
}
