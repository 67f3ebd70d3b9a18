//! Which addresses are public, and how narrow a range must be to allow one that is not.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address that is not public.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Special {
    /// What kind of address it is, to complete the sentence "it is …".
    pub kind: &'static str,
    /// The prefix length of the block that the address belongs to. A range with a shorter prefix also contains ordinary
    /// addresses, so its author did not mean this block. For an address that must be listed exactly, the number of its
    /// bits.
    pub prefix_length: u32,
}

const fn special_in(prefix_length: u32, kind: &'static str) -> Special {
    Special { kind, prefix_length }
}

/// The kind of an address that is not public.
///
/// It follows IANA's registries of special-purpose addresses
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>,
/// <https://www.iana.org/assignments/iana-ipv6-special-registry>). An IPv6 address that contains an IPv4 address is
/// refused whatever that address is, because routers on the way may unpack it. The exception is a public IPv4 address
/// behind the well-known prefix of NAT64 (RFC 6052), which is how a network without IPv4 reaches IPv4 servers.
pub fn special(address: IpAddr) -> Option<Special> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

#[allow(
    clippy::match_same_arms,
    reason = "in the order of the registries, and some are exceptions to what follows"
)]
fn special_v4(address: Ipv4Addr) -> Option<Special> {
    Some(match address.octets() {
        [0, ..] => special_in(8, "an unspecified address"),
        [127, ..] => special_in(8, "a loopback address"),
        // Cloud metadata services use link-local addresses; Azure has another one at a public address. The AWS
        // addresses that end in .170.x give credentials to containers (ECS, EKS).
        [169, 254, 169, 254]
        | [169, 254, 170, 2 | 23]
        | [168, 63, 129, 16]
        | [100, 100, 100, 200]
        | [192, 0, 0, 192] => special_in(32, "a cloud's metadata service"),
        [169, 254, ..] => special_in(16, "a link-local address"),
        [10, ..] => special_in(8, "a private address"),
        [172, 16..=31, ..] => special_in(12, "a private address"),
        [192, 168, ..] => special_in(16, "a private address"),
        [100, 64..=127, ..] => special_in(10, "a provider's private address"),
        [198, 18 | 19, ..] => special_in(15, "a reserved address"),
        [192, 0, 0 | 2, _] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => {
            special_in(24, "a reserved address")
        }
        [224..=239, ..] => special_in(4, "a multicast address"),
        [240..=255, ..] => special_in(4, "a reserved address"),
        _ => return None,
    })
}

#[allow(clippy::match_same_arms, reason = "as above")]
fn special_v6(address: Ipv6Addr) -> Option<Special> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => special_in(128, "an unspecified address"),
        [0, 0, 0, 0, 0, 0, 0, 1] => special_in(128, "a loopback address"),
        [0x64, 0xff9b, 0, 0, 0, 0, ..] if special_v4(last_32_bits(address)).is_none() => return None,
        // Mapped, compatible and translated addresses; NAT64 with its local-use prefix; 6to4; Teredo.
        [0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..] => special_in(
            embedding(address).map_or(128, |(before, inside)| {
                before + special_v4(inside).map_or(0, |inside| inside.prefix_length)
            }),
            "an IPv4 address inside an IPv6 address",
        ),
        // The addresses of AWS, EKS and Google.
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254 | 0x23] | [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254] => {
            special_in(128, "a cloud's metadata service")
        }
        [0xfc00..=0xfdff, ..] => special_in(7, "a private address"),
        [0xfe80..=0xfebf, ..] => special_in(10, "a link-local address"),
        [0xfec0..=0xfeff, ..] => special_in(10, "a private address"),
        [0xff00..=0xffff, ..] => special_in(8, "a multicast address"),
        // Blocks of 2000::/3, the only allocated part: protocol assignments and documentation.
        [0x2001, 0x1..=0x1ff, ..] => special_in(23, "a reserved address"),
        [0x2001, 0xdb8, ..] => special_in(32, "a reserved address"),
        [0x3fff, 0..=0xfff, ..] => special_in(20, "a reserved address"),
        [0x2000..=0x3fff, ..] => return None,
        _ => special_in(8, "a reserved address"),
    })
}

fn last_32_bits(address: Ipv6Addr) -> Ipv4Addr {
    Ipv4Addr::from_bits(address.to_bits() as u32)
}

/// The IPv4 address in a mapped, NAT64 (well-known prefix) or 6to4 address, and the number of bits before it. The other
/// forms have the IPv4 address at a position that only their network knows, or inverted (Teredo).
fn embedding(address: Ipv6Addr) -> Option<(u32, Ipv4Addr)> {
    let bits = address.to_bits();
    let at = |before: u32| (before, Ipv4Addr::from_bits((bits >> (96 - before)) as u32));
    match address.segments() {
        [0, 0, 0, 0, 0, 0xffff, ..] | [0x64, 0xff9b, 0, 0, 0, 0, ..] => Some(at(96)),
        [0x2002, ..] => Some(at(16)),
        _ => None,
    }
}

/// The address where a packet may finally arrive: the contained IPv4 address, if there is one.
pub fn destination(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V6(outer) => embedding(outer).map_or(address, |(_, inside)| IpAddr::V4(inside)),
        IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

    use super::special;

    #[test]
    fn public_addresses_are_nothing_special() {
        for address in [
            "1.1.1.1",
            "8.8.8.8",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.0",
            "169.253.255.255",
            "169.255.0.0",
            "172.15.255.255",
            "172.32.0.0",
            "192.0.1.0",
            "192.167.255.255",
            "192.169.0.0",
            "198.17.255.255",
            "198.20.0.0",
            "223.255.255.255",
            "2606:4700::1111",
            "2a00:1450:4001::1",
            "2001:200::1",
            "2001:4860::8888",
            "2003::1",
            "3ffe::1",
            "64:ff9b::8.8.8.8",
        ] {
            assert_eq!(special(address.parse().expect(address)), None, "{address}");
        }
    }

    #[test]
    fn every_other_address_is_called_what_it_is() {
        for (kind, addresses) in [
            ("unspecified", &["0.0.0.0", "0.1.2.3", "::"][..]),
            ("loopback", &["127.0.0.1", "127.255.255.254", "::1"]),
            (
                "link-local",
                &["169.254.0.1", "169.254.255.255", "fe80::1", "febf::1"],
            ),
            (
                "metadata",
                &[
                    "169.254.169.254",
                    "169.254.170.2",
                    "169.254.170.23",
                    "100.100.100.200",
                    "192.0.0.192",
                    "168.63.129.16",
                    "fd00:ec2::254",
                    "fd00:ec2::23",
                    "fd20:ce::254",
                ],
            ),
            (
                "private",
                &[
                    "10.0.0.0",
                    "10.255.255.255",
                    "172.16.0.0",
                    "172.31.255.255",
                    "192.168.0.1",
                    "100.64.0.0",
                    "100.127.255.255",
                    "fc00::1",
                    "fdff::1",
                    "fec0::1",
                ],
            ),
            ("multicast", &["224.0.0.1", "239.255.255.255", "ff02::1"]),
            (
                "reserved",
                &[
                    "192.0.0.1",
                    "192.0.2.1",
                    "192.88.99.1",
                    "198.18.0.1",
                    "198.19.255.255",
                    "198.51.100.1",
                    "203.0.113.1",
                    "240.0.0.1",
                    "255.255.255.255",
                    "2001:db8::1",
                    "2001:2::1",
                    "3fff::1",
                    "100::1",
                    "4000::1",
                    "5f00::1",
                ],
            ),
            (
                "inside",
                &[
                    "::ffff:127.0.0.1",
                    "::ffff:8.8.8.8",
                    "::127.0.0.1",
                    "::2",
                    "::ffff:0:127.0.0.1",
                    "64:ff9b::7f00:1",
                    "64:ff9b::10.0.0.1",
                    "64:ff9b::169.254.169.254",
                    "64:ff9b::203.0.113.1",
                    "64:ff9b:0:0:0:1:808:808",
                    "64:ff9b:1::808:808",
                    "64:ff9b:1::7f00:1",
                    "2002:7f00:1::",
                    "2001::1",
                ],
            ),
        ] {
            for address in addresses {
                let found = special(address.parse().expect(address));
                assert!(
                    found.is_some_and(|found| found.kind.contains(kind)),
                    "{address}: {found:?}"
                );
            }
        }
    }

    /// The first and the last address of a block.
    fn ends(block: &str) -> [IpAddr; 2] {
        let (base, length) = block.split_once('/').expect(block);
        let length: u32 = length.parse().expect(block);
        match base.parse().expect(block) {
            IpAddr::V4(base) => {
                let host = u32::MAX.checked_shr(length).unwrap_or(0);
                [base.into(), Ipv4Addr::from_bits(base.to_bits() | host).into()]
            }
            IpAddr::V6(base) => {
                let host = u128::MAX.checked_shr(length).unwrap_or(0);
                [base.into(), Ipv6Addr::from_bits(base.to_bits() | host).into()]
            }
        }
    }

    /// Every block of IANA's registries of special-purpose addresses (iana-ipv4-special-registry and
    /// iana-ipv6-special-registry), by their column "globally reachable", and of the multicast registries.
    #[test]
    fn no_block_that_iana_calls_not_globally_reachable_is_public() {
        for block in [
            // IPv4: "false" or "not applicable".
            "0.0.0.0/8",
            "0.0.0.0/32",
            "10.0.0.0/8",
            "100.64.0.0/10",
            "127.0.0.0/8",
            "169.254.0.0/16",
            "172.16.0.0/12",
            "192.0.0.0/24",
            "192.0.0.0/29",
            "192.0.0.8/32",
            "192.0.0.170/32",
            "192.0.0.171/32",
            "192.0.2.0/24",
            "192.88.99.0/24",
            "192.88.99.2/32",
            "192.168.0.0/16",
            "198.18.0.0/15",
            "198.51.100.0/24",
            "203.0.113.0/24",
            "240.0.0.0/4",
            "255.255.255.255/32",
            "224.0.0.0/4",
            // IPv6.
            "::1/128",
            "::/128",
            "::ffff:0:0/96",
            "64:ff9b:1::/48",
            "100::/64",
            "100:0:0:1::/64",
            "2001::/23",
            "2001::/32",
            "2001:2::/48",
            "2001:10::/28",
            "2001:db8::/32",
            "2002::/16",
            "3fff::/20",
            "5f00::/16",
            "fc00::/7",
            "fe80::/10",
            "ff00::/8",
            // "True", but no internet server has such an address: anycast to the nearest router, and identifiers.
            "192.0.0.9/32",
            "192.0.0.10/32",
            "2001:1::1/128",
            "2001:1::2/128",
            "2001:1::3/128",
            "2001:3::/32",
            "2001:4:112::/48",
            "2001:20::/28",
            "2001:30::/28",
            // Not allocated by IANA (iana-ipv6-address-space): outside of 2000::/3.
            "::/8",
            "200::/7",
            "400::/6",
            "800::/5",
            "1000::/4",
            "4000::/3",
            "6000::/3",
            "8000::/3",
            "a000::/3",
            "c000::/3",
            "e000::/4",
            "f000::/5",
            "f800::/6",
            "fe00::/9",
            "fec0::/10",
        ] {
            for address in ends(block) {
                assert!(special(address).is_some(), "{address} of {block}");
            }
        }
        for block in [
            // "True".
            "192.31.196.0/24",
            "192.52.193.0/24",
            "192.175.48.0/24",
            "2620:4f:8000::/48",
        ] {
            for address in ends(block) {
                assert_eq!(special(address), None, "{address} of {block}");
            }
        }
    }
}
