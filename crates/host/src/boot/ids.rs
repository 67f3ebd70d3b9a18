//! Which host id a VM's user is.
//!
//! An ordinary user's VMs run under its own id: the kernel lets it map no other. A root server gives each VM an id of its
//! own that belongs to nobody, so that files of root's are not the guest's, and one VM's per-user counters (pipes,
//! watches, locked memory) are not another's.
//!
//! An id is leased by a Unix socket in the abstract namespace: the kernel frees it with the server, however that ends.

use std::fs;
use std::io;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::atomic::{AtomicU32, Ordering};

/// Ids beyond every range that distributions, systemd-nspawn, subuid allocation or directories hand out
/// (<https://systemd.io/UIDS-GIDS/>), where the host has the whole 32-bit space.
const PREFERRED: Range<u32> = 1_900_000_000..2_000_000_000;

/// How many ids at the top of a smaller range are tried.
const SMALL_RANGE: u32 = 8192;

/// An id that no other VM of this host has, while it is held.
#[derive(Debug)]
pub struct IdLease {
    /// The uid, and the gid of the same number.
    pub id: u32,
    _lock: UnixDatagram,
}

impl IdLease {
    /// Takes a free id that this process's own user namespace can hand out; none where there are none to spare.
    pub fn take() -> io::Result<Option<Self>> {
        static NEXT: AtomicU32 = AtomicU32::new(0);
        let uids = mapped("/proc/self/uid_map")?;
        let gids = mapped("/proc/self/gid_map")?;
        let Some(range) = spare(&uids, &gids) else {
            return Ok(None);
        };
        let length = range.end - range.start;
        // Servers of one host start at different places, so that they seldom meet.
        let offset = std::process::id().wrapping_mul(2_654_435_761);
        for _ in 0..length {
            let turn = NEXT.fetch_add(1, Ordering::Relaxed).wrapping_add(offset);
            let id = range.start + turn % length;
            let name = SocketAddr::from_abstract_name(format!("agent-vm/id/{id}"))?;
            match UnixDatagram::bind_addr(&name) {
                Ok(lock) => return Ok(Some(Self { id, _lock: lock })),
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => {}
                Err(error) => return Err(error),
            }
        }
        Ok(None)
    }
}

/// The ranges of ids inside of this process's user namespace.
fn mapped(path: &str) -> io::Result<Vec<Range<u32>>> {
    Ok(parse(&fs::read_to_string(path)?))
}

fn parse(map: &str) -> Vec<Range<u32>> {
    map.lines()
        .filter_map(|line| {
            let mut fields = line.split_whitespace();
            let start: u32 = fields.next()?.parse().ok()?;
            let length: u32 = fields.nth(1)?.parse().ok()?;
            Some(start..start.saturating_add(length))
        })
        .collect()
}

/// Ids that both maps have and that are nobody's: the preferred ones, or the upper end of the largest range, below the
/// overflow ids.
fn spare(uids: &[Range<u32>], gids: &[Range<u32>]) -> Option<Range<u32>> {
    let common = uids.iter().flat_map(|uid| {
        gids.iter()
            .map(move |gid| uid.start.max(gid.start)..uid.end.min(gid.end))
    });
    let mut best: Option<Range<u32>> = None;
    for range in common {
        if range.start <= PREFERRED.start && PREFERRED.end <= range.end {
            return Some(PREFERRED);
        }
        let end = if range.contains(&65_534) {
            65_534
        } else {
            range.end
        };
        // Below this live the container's own users.
        let start = range.start.max(2000).max(end.saturating_sub(SMALL_RANGE));
        if start < end
            && best
                .as_ref()
                .is_none_or(|best| end - start > best.end - best.start)
        {
            best = Some(start..end);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_whole_id_space_gives_ids_that_belong_to_nobody() {
        let all = parse("         0          0 4294967295\n");
        assert_eq!(spare(&all, &all), Some(PREFERRED));
    }

    #[test]
    fn a_containers_map_gives_ids_of_its_own_below_the_overflow_id() {
        let map = parse("0 100000 65536\n");
        assert_eq!(spare(&map, &map), Some(57_342..65_534));
    }

    #[test]
    fn a_map_of_root_alone_gives_none() {
        let map = parse("0 1000 1\n");
        assert_eq!(spare(&map, &map), None);
    }

    #[test]
    fn two_leases_never_hold_the_same_id() {
        let Ok(Some(one)) = IdLease::take() else { return };
        let Ok(Some(other)) = IdLease::take() else { return };
        assert_ne!(one.id, other.id);
    }
}
