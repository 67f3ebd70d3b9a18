//! A VM's files on the host's disk.
//!
//! A directory of the server's user has a directory for each disk, which only that user may enter. In it are a lock, held while a VM
//! has the disk, by this process and by init, and the VM's files. Under a root server these belong to ids that no VM and no user of the host has: the VM's ids
//! are mapped to them, so that the disk is the same under other ids another time, and root of a VM is not root on the disk.

mod error;

use std::fs::{self, DirBuilder};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, lchown};
use std::path::{Path, PathBuf};
use std::thread;

use agent_vm_protocol::message::{Attached, OwnDisk};
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg, OFlag, open};
use nix::sys::stat::Mode;
use nix::unistd::geteuid;
use serde::{Deserialize, Serialize};

use super::directories::disk_source;
use super::ids::DISK_IDS;
use super::options::DiskOptions;
use super::user::{GuestIds, USER_ID};

pub use error::DiskError;

/// How the names of disks begin that end with their VM.
const UNNAMED: &str = ".vm-";

/// Held while disks without a name are made or removed.
const MAKING: &str = ".lock";

/// In a disk: held while a VM has it.
const LOCK: &str = "lock";

/// In a disk: the VM's files.
const FILES: &str = "files";

/// In a disk: what it was made with.
const MADE_WITH: &str = "made-with.json";

/// What stays the same for all VMs that have a disk, one after the other.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct MadeWith {
    /// The root that the caller brought.
    rootfs: Option<PathBuf>,
    /// Whether its files belong to a range of ids.
    range: bool,
}

/// The ids of a VM on the host.
#[derive(Debug, Clone, Copy)]
pub struct DiskIds {
    /// That of its user, if it is not the server's own.
    pub user: Option<u32>,
    /// The first of 65,536 leased ones.
    pub first: Option<u32>,
    /// Whether they are 65,536.
    pub are_many: bool,
}

/// A disk that a VM has. Dropping it, after the VM's end, gives it back, and removes one without a name.
#[derive(Debug)]
pub struct Disk {
    path: PathBuf,
    is_named: bool,
    lock: Flock<OwnedFd>,
}

fn failed<'a>(path: &'a Path, syscall: &'static str) -> impl FnOnce(io::Error) -> DiskError + 'a {
    move |source| DiskError::System {
        path: path.to_owned(),
        syscall,
        source,
    }
}

impl Disk {
    /// Takes the disk, which is made if it does not exist.
    pub fn take(options: &DiskOptions, rootfs: Option<&Path>, ids: DiskIds) -> Result<Self, DiskError> {
        if ids.are_many && ids.user.is_none() {
            return Err(DiskError::Range);
        }
        let directory = &options.directory;
        let store = &fs::canonicalize(directory).map_err(failed(directory, "open"))?;
        let found = fs::metadata(store).map_err(failed(store, "stat"))?;
        if !found.is_dir() {
            return Err(failed(store, "open")(Errno::ENOTDIR.into()));
        }
        if found.uid() != geteuid().as_raw() || found.mode() & 0o022 != 0 {
            return Err(DiskError::Shared { path: store.clone() });
        }
        let disk = match &options.name {
            Some(name) => Self::open(store, name)?,
            None => Self::make(store)?,
        };
        if disk.is_named {
            disk.require_same(&MadeWith {
                rootfs: rootfs.map(Path::to_owned),
                range: ids.are_many,
            })?;
        }
        disk.prepare(ids)?;
        Ok(disk)
    }

    fn open(store: &Path, name: &str) -> Result<Self, DiskError> {
        let path = store.join(name);
        directory(&path)?;
        match lock(&path.join(LOCK), FlockArg::LockExclusiveNonblock) {
            Ok(lock) => Ok(Self {
                path,
                is_named: true,
                lock,
            }),
            Err(error) if error.raw_os_error() == Some(libc::EWOULDBLOCK) => Err(DiskError::InUse {
                directory: store.to_owned(),
                name: name.to_owned(),
            }),
            Err(error) => Err(failed(&path, "open")(error)),
        }
    }

    /// Makes one without a name, and removes in the background what servers have left that were killed.
    fn make(store: &Path) -> Result<Self, DiskError> {
        let making = store.join(MAKING);
        let making_lock = lock(&making, FlockArg::LockExclusive).map_err(failed(&making, "flock"))?;
        let left = left(store);
        let made = Self::make_alone(store);
        // Before the others are dropped, which takes it.
        drop(making_lock);
        if !left.is_empty() {
            let remover = thread::Builder::new().name("agent-vm-disks".to_owned());
            // Without a thread they are removed here.
            drop(remover.spawn(move || drop(left)));
        }
        made
    }

    fn make_alone(store: &Path) -> Result<Self, DiskError> {
        let template = store.join(format!("{UNNAMED}XXXXXX"));
        let path =
            nix::unistd::mkdtemp(&template).map_err(|errno| failed(&template, "mkdtemp")(errno.into()))?;
        let taken = lock(&path.join(LOCK), FlockArg::LockExclusiveNonblock);
        Ok(Self {
            lock: taken.map_err(failed(&path, "flock"))?,
            path,
            is_named: false,
        })
    }

    /// Checks what it was made with, or notes it.
    fn require_same(&self, wanted: &MadeWith) -> Result<(), DiskError> {
        let path = self.path.join(MADE_WITH);
        let found = match fs::read(&path) {
            Ok(text) => serde_json::from_slice::<MadeWith>(&text).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                let new = self.path.join(".made-with.json");
                let text = serde_json::to_vec(wanted).map_err(io::Error::from);
                return text
                    .and_then(|text| fs::write(&new, text))
                    .and_then(|()| fs::rename(&new, &path))
                    .map_err(failed(&path, "write"));
            }
            Err(error) => Err(error),
        };
        let found = found.map_err(failed(&path, "read"))?;
        let what = if found.rootfs != wanted.rootfs {
            "rootfs"
        } else if found.range != wanted.range {
            "ids"
        } else {
            return Ok(());
        };
        Err(DiskError::Other {
            path: self.path.clone(),
            what,
        })
    }

    /// Makes the directory of the VM's files.
    fn prepare(&self, ids: DiskIds) -> Result<(), DiskError> {
        let files = self.path.join(FILES);
        directory(&files)?;
        if ids.user.is_none() {
            return Ok(());
        }
        let owner = if ids.are_many {
            DISK_IDS.start
        } else {
            DISK_IDS.start + USER_ID
        };
        lchown(&files, Some(owner), Some(owner)).map_err(failed(&files, "lchown"))
    }

    /// What init needs of it; the descriptors that belong to that are added to `fds`.
    pub fn for_init(&self, ids: DiskIds, fds: &mut Vec<OwnedFd>) -> Result<OwnDisk, DiskError> {
        let user = ids.user.map(|id| GuestIds { uid: id, gid: id });
        let files = disk_source(&self.path.join(FILES), user, ids.first, fds)?;
        let lock = fds.len() as Attached;
        let path = self.path.join(LOCK);
        fds.push(
            self.lock
                .as_fd()
                .try_clone_to_owned()
                .map_err(failed(&path, "dup"))?,
        );
        Ok(OwnDisk { files, lock })
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.is_named {
            return;
        }
        let removed = agent_vm_remove_tree::remove_all(&self.path.join(FILES)).and_then(|()| {
            // Only this must not happen while another VM looks for what was left: it would make the lock again.
            let making = self.path.with_file_name(MAKING);
            let _making = lock(&making, FlockArg::LockExclusive);
            agent_vm_remove_tree::remove_all(&self.path)
        });
        if let Err(error) = removed {
            tracing::warn!(path = %self.path.display(), %error, "a VM's disk was left behind");
        }
    }
}

/// The disks without a name that no VM has: servers that were killed have left them.
fn left(store: &Path) -> Vec<Disk> {
    let Ok(found) = fs::read_dir(store) else {
        return Vec::new();
    };
    let is_unnamed = |entry: &fs::DirEntry| entry.file_name().as_bytes().starts_with(UNNAMED.as_bytes());
    let disks = found.flatten().filter(is_unnamed).filter_map(|entry| {
        let path = entry.path();
        let lock = lock(&path.join(LOCK), FlockArg::LockExclusiveNonblock).ok()?;
        Some(Disk {
            path,
            is_named: false,
            lock,
        })
    });
    disks.collect()
}

/// Makes a directory, unless there is one. Nothing else may be there, not even a link to one.
fn directory(path: &Path) -> Result<(), DiskError> {
    match DirBuilder::new().mode(0o700).create(path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            let found = fs::symlink_metadata(path).map_err(failed(path, "stat"))?;
            if found.is_dir() {
                Ok(())
            } else {
                Err(failed(path, "open")(Errno::ENOTDIR.into()))
            }
        }
        made => made.map_err(failed(path, "mkdir")),
    }
}

/// Locks a file, which is made if it does not exist. It is open for reading alone: init has it, too.
fn lock(path: &Path, how: FlockArg) -> io::Result<Flock<OwnedFd>> {
    let flags = OFlag::O_RDONLY | OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = open(path, flags, Mode::S_IRUSR | Mode::S_IWUSR)?;
    Flock::lock(fd, how).map_err(|(_, errno)| errno.into())
}
