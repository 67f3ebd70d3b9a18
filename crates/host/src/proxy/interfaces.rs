//! The host's own addresses: those of its interfaces, and those that its routes deliver to itself.

use std::collections::HashSet;
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use parking_lot::Mutex;

/// How long a list is used. Interfaces change seldom, and one look at them costs a system call for each.
const FRESH: Duration = Duration::from_secs(1);

/// When the list was made, and what it holds.
static LIST: Mutex<Option<(Instant, HashSet<IpAddr>)>> = Mutex::new(None);

/// Whether a connection to `address` reaches the host itself. Where that cannot be learned, it does: then it is refused.
pub fn lead_to(address: IpAddr) -> bool {
    have(address) || is_delivered_here(address)
}

/// Whether the host's routes deliver to itself what is sent to `address`, as those of load balancers do for addresses that no
/// interface has (`ip route add local …`). The kernel then sends from that address. Nothing is sent here.
fn is_delivered_here(address: IpAddr) -> bool {
    let any: IpAddr = match address {
        IpAddr::V4(_) => Ipv4Addr::UNSPECIFIED.into(),
        IpAddr::V6(_) => Ipv6Addr::UNSPECIFIED.into(),
    };
    let socket = match UdpSocket::bind(SocketAddr::new(any, 0)) {
        Ok(socket) => socket,
        // A host without that family delivers nothing of it.
        Err(error) => return error.raw_os_error() != Some(libc::EAFNOSUPPORT),
    };
    // Where there is no route, nothing is delivered. The port does not matter.
    if socket.connect(SocketAddr::new(address, 9)).is_err() {
        return false;
    }
    match socket.local_addr() {
        Ok(own) => own.ip() == address || own.ip().is_loopback(),
        Err(_) => true,
    }
}

/// Whether an interface of the host has `address`. Where that cannot be learned, it is taken for one: then it is refused.
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
