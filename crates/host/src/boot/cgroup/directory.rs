//! One directory of a cgroup hierarchy.
//!
//! A directory belongs to the process that holds a lock on it (`flock(2)`). The lock is on the inode, which all mounts
//! of the hierarchy and all namespaces share, and the kernel releases it however its holder ends. So a server can tell
//! the directories of dead servers from those of living ones, whatever else the two share. The lock needs no additional
//! descriptor.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, chown};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::file::set;

/// How often, and with what pause, removing a directory is tried while its last process is still ending.
const REMOVE_TRIES: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// How many names are tried: another server that removes dead servers' directories may lock a new directory first.
const MAKE_TRIES: u32 = 16;

/// Only its owner may open a directory for reading, because that is enough to lock it. All users may search it: it
/// becomes the VM user's, and a server without `CAP_DAC_OVERRIDE` then has only the rights of others.
const MODE: u32 = 0o711;

/// A directory that this process made and locked. Dropping it removes it with everything below it, which must happen
/// after the end of its last process.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    file: Flock<File>,
}

impl Directory {
    /// Makes a directory in `parent`, with a name from `names`.
    pub fn make(parent: &Path, mut names: impl FnMut() -> String) -> io::Result<Self> {
        for _ in 0..MAKE_TRIES {
            let path = parent.join(names());
            DirBuilder::new().mode(MODE).create(&path)?;
            match lock_new(&path) {
                Ok(Some(file)) => return Ok(Self { path, file }),
                // Another server has removed it, or is about to.
                Ok(None) => remove_tree(&path)?,
                Err(error) => {
                    remove_tree(&path)?;
                    return Err(error);
                }
            }
        }
        Err(io::Error::from_raw_os_error(libc::EBUSY))
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it and opens that. It is removed together with this one.
    pub fn child(&self, name: &str) -> io::Result<(PathBuf, OwnedFd)> {
        let path = self.path.join(name);
        fs::create_dir(&path)?;
        let fd = File::open(&path)?.into();
        Ok((path, fd))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // In a VM without a pid namespace, somebody may have killed init but not the processes that it had started. A
        // cgroup of version 1 has no such file.
        if let Err(error) = set(&self.path, "cgroup.kill", "1") {
            tracing::debug!(path = %self.path.display(), %error, "a VM's cgroup was not killed");
        }
        let mut tries = 0;
        while let Err(error) = remove_tree(&self.path) {
            if error.raw_os_error() == Some(libc::EBUSY) && tries < REMOVE_TRIES {
                tries += 1;
                thread::sleep(REMOVE_PAUSE);
                continue;
            }
            tracing::warn!(path = %self.path.display(), %error, "a VM's cgroup was left behind");
            return;
        }
    }
}

/// A directory that init uses: its path, and a descriptor.
#[derive(Debug, Clone, Copy)]
pub struct CgroupDirectory<'a> {
    /// Without links.
    pub path: &'a Path,
    /// Opened for reading.
    pub fd: BorrowedFd<'a>,
}

impl<'a> CgroupDirectory<'a> {
    /// A directory that this process keeps.
    pub fn of(directory: &'a Directory) -> Self {
        Self {
            path: directory.path(),
            fd: directory.as_fd(),
        }
    }
}

/// Opens and locks a newly made directory. `None` if another server has taken it for a dead server's.
fn lock_new(path: &Path) -> io::Result<Option<Flock<File>>> {
    let file = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let Some(file) = lock(file)? else { return Ok(None) };
    // It may have been removed before it was locked. Names are used only once, so if the path exists it is this
    // directory.
    match fs::symlink_metadata(path) {
        Ok(named) => {
            let locked = file.metadata()?;
            Ok(((named.dev(), named.ino()) == (locked.dev(), locked.ino())).then_some(file))
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

fn open(path: &Path) -> io::Result<File> {
    fs::OpenOptions::new()
        .read(true)
        .custom_flags(libc::O_DIRECTORY | libc::O_NOFOLLOW)
        .open(path)
}

/// Takes the lock if it is free.
fn lock(file: File) -> io::Result<Option<Flock<File>>> {
    match Flock::lock(file, FlockArg::LockExclusiveNonblock) {
        Ok(locked) => Ok(Some(locked)),
        Err((_, Errno::EWOULDBLOCK)) => Ok(None),
        Err((_, errno)) => Err(errno.into()),
    }
}

/// Lets `owner` make directories in `path` and move its processes within it: the kernel requires write permission at
/// both ends of a move, and on their common ancestor. The limits remain the host's, and so does the group: an ordinary
/// user's group rarely has the user's number, and the server's user may not be allowed to give files to it.
pub fn give(path: &Path, owner: u32) -> io::Result<()> {
    for file in ["", "cgroup.procs"] {
        chown(path.join(file), Some(owner), None)?;
    }
    Ok(())
}

/// The result of trying to remove a directory that may be a dead server's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Abandoned {
    /// Its server is alive.
    Held,
    /// No server holds it, but a process runs in it.
    Populated,
    /// It has been removed.
    Removed,
}

/// Removes a directory that no server holds and in which nothing runs. Leaves the directories of a living server
/// unchanged, including those below it.
pub fn remove_abandoned(path: &Path) -> io::Result<Abandoned> {
    let file = match open(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Abandoned::Removed),
        other => other?,
    };
    let Some(_lock) = lock(file)? else {
        return Ok(Abandoned::Held);
    };
    if is_populated(path)? {
        return Ok(Abandoned::Populated);
    }
    remove_tree(path)?;
    Ok(Abandoned::Removed)
}

/// Whether a process is in the directory or in one below it.
fn is_populated(path: &Path) -> io::Result<bool> {
    match fs::read_to_string(path.join("cgroup.events")) {
        Ok(events) => return Ok(!events.lines().any(|line| line == "populated 0")),
        // Version 1.
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    match fs::read(path.join("cgroup.procs")) {
        Ok(pids) if pids.is_empty() => {}
        Ok(_) => return Ok(true),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(false),
        Err(error) => return Err(error),
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() && is_populated(&entry.path())? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// Removes a cgroup and those below it. Its files are the kernel's and vanish with it. It is no error if it does not
/// exist.
fn remove_tree(path: &Path) -> io::Result<()> {
    let gone = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Ok(()),
        _ => Err(error),
    };
    let entries = match fs::read_dir(path) {
        Ok(entries) => entries,
        Err(error) => return gone(error),
    };
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    fs::remove_dir(path).or_else(gone)
}
