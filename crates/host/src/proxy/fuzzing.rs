//! Entry points for `fuzz/`: each takes any bytes, and panics if the proxy breaks a promise.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::pin::pin;
use std::task::{Context, Poll, Waker};

use super::address::special;
use super::rules::{AddressRange, Destination, Rule, Rules};
use super::target::TargetHost;
use super::{http, socks as socks5};

/// The head of an HTTP request. The forwarded head must contain one request, to the host that was checked.
pub fn http_head(bytes: &[u8]) {
    http::check(bytes);
}

/// The SOCKS 5 handshake after its first byte. A host name in it must be valid.
pub fn socks(bytes: &[u8]) {
    let mut client = tokio::io::join(bytes, tokio::io::sink());
    let request = pin!(socks5::request(&mut client));
    // Neither side has to wait.
    let Poll::Ready(answer) = request.poll(&mut Context::from_waker(Waker::noop())) else {
        unreachable!("a slice is always ready")
    };
    if let Ok(Some(target)) = answer {
        assert!(target.port != 0);
        check_host(&target.host);
    }
}

fn check_host(host: &TargetHost) {
    let text = match host {
        TargetHost::Name(name) => {
            assert!(!name.is_empty() && name.len() <= 253 && name.parse::<IpAddr>().is_err());
            assert!(
                name.bytes()
                    .all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
            );
            name.clone()
        }
        TargetHost::Address(address) => address.to_string(),
    };
    assert_eq!(TargetHost::parse(&text).as_ref(), Some(host));
}

/// One rule and one destination. The rule is a range (an address and a prefix length) or, after a zero byte, a name.
///
/// If an address is not public, an IPv4 range that is wider than its block must not allow it, in any spelling.
pub fn rules(bytes: &[u8]) {
    match bytes {
        [0, text @ ..] => {
            let text = String::from_utf8_lossy(text);
            let (domain, asked) = text.split_once('\n').unwrap_or((&text, ""));
            let Some(TargetHost::Name(domain)) = TargetHost::parse(domain) else {
                return;
            };
            let Some(asked) = TargetHost::parse(asked) else {
                return;
            };
            check_host(&asked);
            let rule = |destination| {
                Rules::new(vec![Rule {
                    destination,
                    port: None,
                }])
            };
            let TargetHost::Name(name) = asked else { return };
            let (own, below) = (
                rule(Destination::Name(domain.clone())),
                rule(Destination::SubdomainsOf(domain.clone())),
            );
            assert_eq!(own.list_name(&name, 1), name == domain);
            assert_eq!(
                below.list_name(&name, 1),
                name.len() > domain.len() + 1 && name.ends_with(&format!(".{domain}"))
            );
        }
        [_, prefix_length, rest @ ..] if rest.len() == 8 => {
            let v4 = |at: usize| Ipv4Addr::new(rest[at], rest[at + 1], rest[at + 2], rest[at + 3]);
            check_range(IpAddr::V4(v4(0)), *prefix_length % 33, IpAddr::V4(v4(4)));
            let mapped = |at: usize| IpAddr::V6(v4(at).to_ipv6_mapped());
            check_range(mapped(0), 96 + *prefix_length % 33, mapped(4));
        }
        [_, prefix_length, rest @ ..] if rest.len() == 32 => {
            let v6 = |at: usize| {
                let mut octets = [0; 16];
                octets.copy_from_slice(&rest[at..at + 16]);
                IpAddr::V6(Ipv6Addr::from(octets))
            };
            check_range(v6(0), *prefix_length % 129, v6(16));
        }
        _ => {}
    }
}

fn check_range(base: IpAddr, prefix_length: u8, asked: IpAddr) {
    let range = Rules::new(vec![Rule {
        destination: Destination::Addresses(AddressRange::new(base, prefix_length)),
        port: Some(1),
    }]);
    assert!(!range.list_address(asked, 2));
    if !range.list_address(asked, 1) {
        return;
    }
    assert_eq!(asked.is_ipv4(), base.is_ipv4());
    // The range must be wholly within the block: both ends are special addresses of the same kind, unless the range is
    // one address.
    let Some(kind) = special(asked) else { return };
    assert!(u32::from(prefix_length) >= kind.prefix_length);
    let (first, last) = match base {
        IpAddr::V4(base) => {
            let mask = u32::MAX.checked_shr(prefix_length.into()).unwrap_or(0);
            let bits = base.to_bits();
            (
                IpAddr::V4((bits & !mask).into()),
                IpAddr::V4((bits | mask).into()),
            )
        }
        IpAddr::V6(base) => {
            let mask = u128::MAX.checked_shr(prefix_length.into()).unwrap_or(0);
            let bits = base.to_bits();
            (
                IpAddr::V6((bits & !mask).into()),
                IpAddr::V6((bits | mask).into()),
            )
        }
    };
    assert!(
        special(first).is_some() && special(last).is_some(),
        "{first} to {last} for {asked}"
    );
}
