//! The list of the network option, and what it says of a destination. Names are lower case throughout.

use std::net::IpAddr;

use super::address::special;

/// One entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rule {
    /// Where to.
    pub destination: Destination,
    /// To which port; none means all.
    pub port: Option<u16>,
}

/// What an entry names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Destination {
    /// This host.
    Name(String),
    /// Whatever is below this domain, at any depth, and not the domain itself.
    SubdomainsOf(String),
    /// These addresses.
    Addresses(AddressRange),
}

/// All addresses that begin with the same bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AddressRange {
    address: IpAddr,
    shift: u32,
}

impl AddressRange {
    /// Those that share the first `prefix_length` bits of `address`; more bits than there are mean that address alone.
    #[must_use]
    pub fn new(address: IpAddr, prefix_length: u8) -> Self {
        let bits = if address.is_ipv4() { 32 } else { 128 };
        Self {
            address,
            shift: u32::saturating_sub(bits, prefix_length.into()),
        }
    }

    fn contains(self, other: IpAddr) -> bool {
        // A shift by all the bits is none in Rust, hence the `checked`.
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
            Destination::Addresses(_) => false,
        }
    }

    fn contains(&self, address: IpAddr) -> bool {
        matches!(&self.destination, Destination::Addresses(range) if range.contains(address))
    }

    /// Whether this entry is about the host that `host` (a name or an address) names, at whatever port.
    pub(super) fn names(&self, host: &str) -> bool {
        self.matches_name(host) || host.parse().is_ok_and(|address| self.contains(address))
    }
}

/// The name of the host itself, whose address is its loopback's wherever it is asked for.
const LOCALHOST: &str = "localhost";

/// All entries.
#[derive(Debug, Clone)]
pub struct Rules(Vec<Rule>);

impl Rules {
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules)
    }

    /// Whether `name` is listed. Only then may it be looked up: a look-up is a message to whoever serves that domain.
    pub fn list_name(&self, name: &str, port: u16) -> bool {
        self.0
            .iter()
            .any(|rule| rule.has_port(port) && rule.matches_name(name))
    }

    /// Whether `address` is listed as an address.
    pub fn list_address(&self, address: IpAddr, port: u16) -> bool {
        self.0
            .iter()
            .any(|rule| rule.has_port(port) && rule.contains(address))
    }

    /// What stands against `address`, to which a listed `name` has been resolved: whoever serves the name could lead it
    /// anywhere, so an address that is not public must be listed itself.
    pub fn object(&self, name: &str, address: IpAddr, port: u16) -> Option<&'static str> {
        let kind = special(address)?;
        let own_loopback = name == LOCALHOST && address.is_loopback();
        (!own_loopback && !self.list_address(address, port)).then_some(kind)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn range(address: &str, prefix_length: u8) -> Destination {
        Destination::Addresses(AddressRange::new(address.parse().expect(address), prefix_length))
    }

    fn rules<const N: usize>(rules: [(Destination, Option<u16>); N]) -> Rules {
        Rules::new(rules.map(|(destination, port)| Rule { destination, port }).into())
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
        let all = super::tests::rules([(range("0.0.0.0", 0), None)]);
        assert!(all.list_address(ip("127.0.0.1"), 1) && !all.list_address(ip("::1"), 1));
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
    }
}
