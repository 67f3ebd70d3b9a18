//! The addresses of the host's own interfaces.

use std::collections::HashSet;
use std::io;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use nix::ifaddrs::getifaddrs;
use parking_lot::Mutex;

/// How long a list is used. Interfaces change seldom, and one look at them costs a system call for each.
const FRESH: Duration = Duration::from_secs(1);

/// When the list was made, and what it holds.
static LIST: Mutex<Option<(Instant, HashSet<IpAddr>)>> = Mutex::new(None);

/// Whether an interface of the host has `address`. Where that cannot be learned, it is taken for one: then it is refused.
pub fn have(address: IpAddr) -> bool {
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
    use super::have;

    #[test]
    fn the_loopback_is_the_hosts_own_and_a_public_resolver_is_not() {
        assert!(have([127, 0, 0, 1].into()));
        assert!(!have([1, 1, 1, 1].into()));
    }
}
