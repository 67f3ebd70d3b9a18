//! The host's own addresses: the addresses of its interfaces, and those that its routes deliver to the host itself.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use parking_lot::Mutex;

/// How long a list is used before it is read again. Interfaces rarely change, and reading them costs a system call
/// each.
const FRESH: Duration = Duration::from_secs(1);

/// When the list was made, and its addresses.
static LIST: Mutex<Option<(Instant, HashSet<IpAddr>)>> = Mutex::new(None);

/// Whether a connection to `address` reaches the host itself. If this cannot be determined, returns true, so that it is
/// refused.
pub fn lead_to(address: IpAddr) -> bool {
    have(address) || is_delivered_here(address)
}

/// Whether the host's routes deliver packets for `address` to the host itself, as a load balancer's routes do for
/// addresses that no interface has (`ip route add local …`). The kernel then also chooses that address as the source.
/// Sends nothing.
fn is_delivered_here(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind(SocketAddr::new(any, 0)) {
        Ok(socket) => socket,
        // A host without this address family delivers none of its packets.
        Err(error) => return error.raw_os_error() != Some(libc::EAFNOSUPPORT),
    };
    // Without a route, nothing is delivered. Any port would do.
    if socket.connect(SocketAddr::new(address, 9)).is_err() {
        return false;
    }
    match socket.local_addr() {
        Ok(own) => own.ip() == address || own.ip().is_loopback(),
        Err(_) => true,
    }
}

/// Whether an interface of the host has `address`. If this cannot be determined, returns true, so that it is refused.
fn have(address: IpAddr) -> bool {
    let mut list = LIST.lock();
    match &*list {
        Some((made, addresses)) if made.elapsed() < FRESH => return addresses.contains(&address),
        _ => {}
    }
    match look() {
        Ok(addresses) => {
            let found = addresses.contains(&address);
            *list = Some((Instant::now(), addresses));
            found
        }
        Err(error) => {
            tracing::warn!(%error, "the addresses of the host's interfaces could not be listed");
            true
        }
    }
}

fn look() -> io::Result<HashSet<IpAddr>> {
    let interfaces = getifaddrs()?;
    let addresses = interfaces.filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|v4| IpAddr::V4(v4.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|v6| IpAddr::V6(v6.ip())))
    });
    Ok(addresses.collect())
}

#[cfg(test)]
mod tests {
    use super::lead_to;

    #[test]
    fn the_loopback_is_the_hosts_own_and_a_public_resolver_is_not() {
        assert!(lead_to([127, 0, 0, 1].into()));
        assert!(!lead_to([1, 1, 1, 1].into()));
    }
}
