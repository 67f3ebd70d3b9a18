//! Which addresses are nobody's in particular: the public internet, and nothing beside it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// What an address is when it is not public; the rest of the sentence "it is …".
///
/// After IANA's registries of special-purpose addresses
/// (<https://www.iana.org/assignments/iana-ipv4-special-registry>, <https://www.iana.org/assignments/iana-ipv6-special-registry>).
/// An IPv6 address that carries an IPv4 one inside is refused whatever that is: routers on the way may unpack it.
pub fn special(address: IpAddr) -> Option<&'static str> {
    match address {
        IpAddr::V4(address) => special_v4(address),
        IpAddr::V6(address) => special_v6(address),
    }
}

#[allow(
    clippy::match_same_arms,
    reason = "in the order of the registries, and some are exceptions to what follows"
)]
fn special_v4(address: Ipv4Addr) -> Option<&'static str> {
    Some(match address.octets() {
        [0, ..] => "an unspecified address",
        [127, ..] => "a loopback address",
        // Link-local is where clouds have their metadata service; Azure has a second one at a public address.
        [169, 254, 169, 254] | [168, 63, 129, 16] | [100, 100, 100, 200] | [192, 0, 0, 192] => {
            "a cloud's metadata service"
        }
        [169, 254, ..] => "a link-local address",
        [10, ..] | [172, 16..=31, ..] | [192, 168, ..] => "a private address",
        [100, 64..=127, ..] => "a provider's private address",
        [192, 0, 0 | 2, _] | [198, 18 | 19, ..] | [198, 51, 100, _] | [203, 0, 113, _] | [192, 88, 99, _] => {
            "a reserved address"
        }
        [224..=239, ..] => "a multicast address",
        [240..=255, ..] => "a reserved address",
        _ => return None,
    })
}

#[allow(clippy::match_same_arms, reason = "as above")]
fn special_v6(address: Ipv6Addr) -> Option<&'static str> {
    Some(match address.segments() {
        [0, 0, 0, 0, 0, 0, 0, 0] => "an unspecified address",
        [0, 0, 0, 0, 0, 0, 0, 1] => "a loopback address",
        // Mapped, compatible and translated; NAT64 with its prefix for local use; 6to4; Teredo.
        [0, 0, 0, 0, 0 | 0xffff, ..] | [0x64, 0xff9b, ..] | [0x2002, ..] | [0x2001, 0, ..] => {
            "an IPv4 address inside an IPv6 address"
        }
        [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254] => "a cloud's metadata service",
        [0xfc00..=0xfdff, ..] => "a private address",
        [0xfe80..=0xfebf, ..] => "a link-local address",
        [0xfec0..=0xfeff, ..] => "a private address",
        [0xff00..=0xffff, ..] => "a multicast address",
        // Of 2000::/3, which alone is given out: protocol assignments, and documentation.
        [0x2001, 0x1..=0x1ff | 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => "a reserved address",
        [0x2000..=0x3fff, ..] => return None,
        _ => "a reserved address",
    })
}

#[cfg(test)]
mod tests {
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
                    "100.100.100.200",
                    "192.0.0.192",
                    "168.63.129.16",
                    "fd00:ec2::254",
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
                    "64:ff9b:1::7f00:1",
                    "2002:7f00:1::",
                    "2001::1",
                ],
            ),
        ] {
            for address in addresses {
                let found = special(address.parse().expect(address));
                assert!(
                    found.is_some_and(|found| found.contains(kind)),
                    "{address}: {found:?}"
                );
            }
        }
    }
}
