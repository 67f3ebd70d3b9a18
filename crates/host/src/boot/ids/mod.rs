//! Chooses the host ids of a VM: one for its user, or 65,536 for all its users.
//!
//! An ordinary user's VMs run under the user's own id, because the kernel lets the user map no other. A root server
//! gives each VM a separate unused id, so that root's files are not the guest's, and VMs do not share per-user counters
//! (pipes, watches, locked memory).
//!
//! No two VMs of a machine may have the same id, so each id is leased. Root servers that share a directory lock it in a
//! file there ([`LockFile`]). Servers that share only a network namespace bind a Unix socket in its abstract namespace.
//! The kernel releases both however the server ends. Servers that share neither, such as containers in one user
//! namespace, start at random positions of the range, and skip ids of processes that they see.

mod block;
mod lock_file;
mod subordinate;
mod tables;

use std::fs;
use std::io;
use std::ops::Range;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::path::{Path, PathBuf};

use nix::unistd::geteuid;
use parking_lot::Mutex;

use self::lock_file::LockFile;
use super::sys;
use super::user::USER_ID;

pub use self::block::{DISK as DISK_IDS, LENGTH as BLOCK};
pub use self::subordinate::{NoSubordinate, Subordinate};

/// Ids beyond every range that distributions, systemd-nspawn, subuid allocation or directories assign
/// (<https://systemd.io/UIDS-GIDS/>). Used if the host has the whole 32-bit space.
const PREFERRED: Range<u32> = 1_900_000_000..2_000_000_000;

/// The directories of the lock files. A server locks an id in all of them that it can use. If one server sees another
/// `/run` than the other, or may not write to it, the two meet in the second directory.
fn directories(root: u32) -> [PathBuf; 2] {
    // All users may make the second one, and the roots of two user namespaces are two users.
    [
        PathBuf::from("/run/agent-vm"),
        PathBuf::from(format!("/dev/shm/agent-vm-{root}")),
    ]
}

/// Why there is no id.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum IdError {
    /// The ids of this user namespace could not be read.
    #[error("the ids of this user namespace cannot be read")]
    Maps(#[source] io::Error),
    /// This user namespace has no unused id, or all are taken.
    #[error("this process is root, and its user namespace has no unused id")]
    None,
    /// There is no directory to lock ids in.
    #[error("no directory to lock the ids of VMs in: {0}")]
    NoDirectory(String),
    /// An id could not be locked.
    #[error("an id for the VM's user cannot be locked")]
    Lock(#[source] io::Error),
    /// This user namespace has not so many unused ids, or all are taken.
    #[error("this process is root, and its user namespace has no 65,536 unused ids")]
    NoBlock,
    /// The ids that users of this host have could not be read.
    #[error("the ids that this host has given to users cannot be read")]
    Tables(#[source] io::Error),
    /// An ordinary user has no ids beside its own.
    #[error("this user has no ids to give: {0}")]
    NoSubordinate(#[from] NoSubordinate),
}

/// This server's lock files, and the position where it tries next.
#[derive(Debug)]
struct Ids {
    files: Vec<LockFile>,
    next: u32,
}

static IDS: Mutex<Option<Ids>> = Mutex::new(None);

/// Ids that no other VM of this host has while the lease is held.
#[derive(Debug)]
pub struct IdLease {
    /// The uid of the VM's user, which is also the gid.
    pub id: u32,
    /// All ids of the VM.
    held: Range<u32>,
    _socket: UnixDatagram,
}

impl IdLease {
    /// Takes a free id that this process's user namespace can map.
    pub fn take() -> Result<Self, IdError> {
        with_ids(|ids, uids, gids| ids.take(&unused(uids, gids).ok_or(IdError::None)?))
    }

    /// Takes 65,536 such ids, which nobody has been given on this host.
    pub fn take_block() -> Result<Self, IdError> {
        with_ids(|ids, uids, gids| {
            let given = tables::given_ids().map_err(IdError::Tables)?;
            let blocks = block::unused(uids, gids).ok_or(IdError::NoBlock)?;
            ids.take_block(&blocks, &given)
        })
    }

    /// The host id of the VM's root, if the VM has more than one id.
    pub fn first(&self) -> Option<u32> {
        (self.held.len() > 1).then_some(self.held.start)
    }
}

fn with_ids(
    take: impl FnOnce(&mut Ids, &[Range<u32>], &[Range<u32>]) -> Result<IdLease, IdError>,
) -> Result<IdLease, IdError> {
    let read = |path: &str| fs::read_to_string(path).map_err(IdError::Maps);
    let uid_map = read("/proc/self/uid_map")?;
    let gid_map = read("/proc/self/gid_map")?;
    let mut ids = IDS.lock();
    if ids.is_none() {
        *ids = Some(Ids::open(&directories(root_outside(&uid_map)))?);
    }
    take(
        ids.as_mut().ok_or(IdError::None)?,
        &parse(&uid_map),
        &parse(&gid_map),
    )
}

impl Drop for IdLease {
    fn drop(&mut self) {
        if let Some(ids) = IDS.lock().as_mut() {
            ids.unlock(&self.held);
        }
    }
}

impl Ids {
    /// Opens the lock files in the usable directories.
    fn open(directories: &[PathBuf]) -> Result<Self, IdError> {
        let owner = geteuid().as_raw();
        let mut files = Vec::new();
        let mut refused = Vec::new();
        for directory in directories {
            match LockFile::open(directory, owner) {
                Ok(file) => files.push(file),
                Err(error) => refused.push(describe(directory, &error)),
            }
        }
        if files.is_empty() {
            return Err(IdError::NoDirectory(refused.join("; ")));
        }
        let mut random = [0; 4];
        io::Read::read_exact(
            &mut fs::File::open("/dev/urandom").map_err(IdError::Lock)?,
            &mut random,
        )
        .map_err(IdError::Lock)?;
        Ok(Self {
            files,
            next: u32::from_ne_bytes(random),
        })
    }

    fn take(&mut self, range: &Range<u32>) -> Result<IdLease, IdError> {
        for _ in range.clone() {
            let id = range.start + self.next % (range.end - range.start);
            self.next = self.next.wrapping_add(1);
            if let Some(socket) = self.try_ids(&(id..id + 1), &[id]).map_err(IdError::Lock)? {
                return Ok(IdLease {
                    id,
                    held: id..id + 1,
                    _socket: socket,
                });
            }
        }
        Err(IdError::None)
    }

    /// Takes one of the blocks, unless somebody was `given` an id in it.
    fn take_block(&mut self, blocks: &Range<u32>, given: &[Range<u32>]) -> Result<IdLease, IdError> {
        for _ in blocks.clone() {
            let number = blocks.start + self.next % (blocks.end - blocks.start);
            self.next = self.next.wrapping_add(1);
            let held = block::ids(number);
            if given
                .iter()
                .any(|range| range.start < held.end && held.start < range.end)
            {
                continue;
            }
            let id = held.start + USER_ID;
            // Programs run as these in nearly every VM.
            let usual = [held.start, id, held.start + block::NOBODY];
            if let Some(socket) = self.try_ids(&held, &usual).map_err(IdError::Lock)? {
                return Ok(IdLease {
                    id,
                    held,
                    _socket: socket,
                });
            }
        }
        Err(IdError::NoBlock)
    }

    /// Returns `None` if one of the ids is locked, or a process runs as one of `looked_at`.
    fn try_ids(&mut self, ids: &Range<u32>, looked_at: &[u32]) -> io::Result<Option<UnixDatagram>> {
        for at in 0..self.files.len() {
            match self.files[at].lock(ids) {
                Ok(true) => {}
                refused => {
                    self.files[..at].iter_mut().for_each(|file| file.unlock(ids));
                    return refused.map(|_| None);
                }
            }
        }
        let socket = if looked_at.iter().any(|id| sys::is_user_running(*id)) {
            Ok(None)
        } else {
            bind(ids.start)
        };
        if !matches!(socket, Ok(Some(_))) {
            self.unlock(ids);
        }
        socket
    }

    fn unlock(&mut self, ids: &Range<u32>) {
        self.files.iter_mut().for_each(|file| file.unlock(ids));
    }
}

/// A block has the name of its first id, which is never leased alone.
fn bind(first: u32) -> io::Result<Option<UnixDatagram>> {
    let name = SocketAddr::from_abstract_name(format!("agent-vm/id/{first}"))?;
    match UnixDatagram::bind_addr(&name) {
        Ok(socket) => Ok(Some(socket)),
        Err(error) if error.kind() == io::ErrorKind::AddrInUse => Ok(None),
        Err(error) => Err(error),
    }
}

fn describe(directory: &Path, error: &io::Error) -> String {
    format!("{}: {error}", directory.display())
}

/// The id, in the parent namespace, of this user namespace's root.
fn root_outside(uid_map: &str) -> u32 {
    let outside = |line: &str| {
        let mut fields = line.split_whitespace();
        (fields.next() == Some("0")).then(|| fields.next()?.parse().ok())?
    };
    uid_map.lines().find_map(outside).unwrap_or(0)
}

/// The ranges of ids in a user namespace.
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

/// Ids that both maps have and that no user has: the preferred ones, or the upper end of the largest range, below the
/// overflow ids.
fn unused(uids: &[Range<u32>], gids: &[Range<u32>]) -> Option<Range<u32>> {
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
        // The container's own users have ids below this.
        let start = range.start.max(2000).max(end.saturating_sub(block::SINGLE_IDS));
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
        assert_eq!(unused(&all, &all), Some(PREFERRED));
    }

    #[test]
    fn the_roots_of_two_user_namespaces_lock_in_two_directories() {
        assert_eq!(root_outside("         0          0 4294967295\n"), 0);
        assert_eq!(root_outside("1 200000 65535\n0 1000 1\n"), 1000);
        assert_ne!(directories(0)[1], directories(1000)[1]);
    }

    #[test]
    fn a_containers_map_gives_ids_of_its_own_below_the_overflow_id() {
        let map = parse("0 100000 65536\n");
        assert_eq!(unused(&map, &map), Some(57_342..65_534));
    }

    #[test]
    fn a_map_of_root_alone_gives_none() {
        let map = parse("0 1000 1\n");
        assert_eq!(unused(&map, &map), None);
    }

    fn directory(name: &str) -> PathBuf {
        std::env::temp_dir().join(format!("agent-vm-ids-{name}-{}", std::process::id()))
    }

    /// Like another server with a separate network namespace: its sockets have other names.
    fn server(directories: &[PathBuf], next: u32) -> Ids {
        Ids {
            next,
            ..Ids::open(directories).expect("a lock file")
        }
    }

    fn try_id(server: &mut Ids, id: u32) -> Option<UnixDatagram> {
        server.try_ids(&(id..id + 1), &[id]).expect("an answer")
    }

    #[test]
    fn blocks_of_two_servers_do_not_overlap_and_spare_what_was_given() {
        let shared = [directory("blocks")];
        let blocks = 0x77f0..0x77f4;
        let given = [7..8, 0x77f2_0000 + 7..0x77f2_0000 + 8];
        let mut servers = [server(&shared, 0), server(&shared, 0)];
        let mut held = Vec::new();
        for turn in 0..3 {
            held.push(servers[turn % 2].take_block(&blocks, &given).expect("a block"));
        }
        let mut firsts: Vec<u32> = held.iter().map(|lease| lease.held.start).collect();
        firsts.sort_unstable();
        assert_eq!(firsts, [0x77f0_0000, 0x77f1_0000, 0x77f3_0000]);
        assert!(held.iter().all(|lease| lease.id == lease.held.start + USER_ID));
        assert!(matches!(
            servers[1].take_block(&blocks, &given),
            Err(IdError::NoBlock)
        ));
        fs::remove_dir_all(&shared[0]).expect("removed");
    }

    #[test]
    fn servers_that_start_at_one_place_never_hold_the_same_id() {
        let shared = [directory("shared")];
        let range = 1_999_990_000..1_999_990_008;
        let mut servers = [server(&shared, 0), server(&shared, 0)];
        let mut held = Vec::new();
        for turn in 0..8 {
            held.push(servers[turn % 2].take(&range).expect("an id"));
        }
        let mut ids: Vec<u32> = held.iter().map(|lease| lease.id).collect();
        ids.sort_unstable();
        assert_eq!(ids, range.clone().collect::<Vec<_>>());
        assert!(matches!(servers[0].take(&range), Err(IdError::None)));
        fs::remove_dir_all(&shared[0]).expect("removed");
    }

    #[test]
    fn an_id_that_is_locked_in_one_of_two_files_is_passed_over() {
        let (one, other) = (directory("one"), directory("other"));
        let range = 1_999_990_100..1_999_990_102;
        let mut first = server(std::slice::from_ref(&other), 0);
        let taken = try_id(&mut first, range.start);
        drop(taken.expect("an id"));
        let mut both = server(&[one.clone(), other.clone()], 0);
        assert_eq!(both.take(&range).expect("an id").id, range.start + 1);
        // An id that was refused in one file is not locked in the other.
        let mut alone = server(std::slice::from_ref(&one), 0);
        assert!(try_id(&mut alone, range.start).is_some());
        for made in [one, other] {
            fs::remove_dir_all(made).expect("removed");
        }
    }

    #[test]
    fn an_id_of_a_process_is_passed_over() {
        let own = geteuid().as_raw();
        assert!(sys::is_user_running(own));
        let places = [directory("running")];
        assert!(try_id(&mut server(&places, 0), own).is_none());
        fs::remove_dir_all(&places[0]).expect("removed");
    }

    #[test]
    fn a_server_that_can_lock_nowhere_gets_no_id() {
        let nowhere = [
            PathBuf::from("/proc/agent-vm"),
            PathBuf::from("/nowhere/agent-vm"),
        ];
        let error = Ids::open(&nowhere).expect_err("refused");
        assert!(matches!(error, IdError::NoDirectory(_)));
        for directory in nowhere {
            assert!(
                error.to_string().contains(&directory.display().to_string()),
                "{error}"
            );
        }
    }
}
