//! One directory of a cgroup hierarchy.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::chown;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

/// How often, and how far apart, a directory is tried whose last process has not quite gone.
const REMOVE_TRIES: u32 = 20;
const REMOVE_PAUSE: Duration = Duration::from_millis(5);

/// A directory that was made here, and that is removed with all below it when dropped. That has to be after the end of the
/// last process in it.
#[derive(Debug)]
pub struct Directory {
    path: PathBuf,
    fd: OwnedFd,
}

impl Directory {
    /// Makes `parent`/`name`.
    pub fn make(parent: &Path, name: &str) -> io::Result<Self> {
        let path = parent.join(name);
        fs::create_dir(&path)?;
        match File::open(&path) {
            Ok(file) => Ok(Self {
                path,
                fd: file.into(),
            }),
            Err(error) => {
                fs::remove_dir(&path)?;
                Err(error)
            }
        }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Makes a directory in it, which goes with it, and opens that.
    pub fn child(&self, name: &str) -> io::Result<(PathBuf, OwnedFd)> {
        let path = self.path.join(name);
        fs::create_dir(&path)?;
        let fd = File::open(&path)?.into();
        Ok((path, fd))
    }
}

impl AsFd for Directory {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        // A VM without a pid namespace may have lost its init to somebody's SIGKILL, and not what that had started. A
        // cgroup of version 1 has no such file.
        if let Err(error) = fs::write(self.path.join("cgroup.kill"), "1") {
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

/// Lets `owner` make directories in `path` and move its processes within it: the kernel wants write permission on both ends
/// of a move, and on what they have in common. Limits stay the host's, and so does the group: an ordinary user's seldom has the
/// user's number, and need not be one that he may give files to.
pub fn give(path: &Path, owner: u32) -> io::Result<()> {
    for file in ["", "cgroup.procs"] {
        chown(path.join(file), Some(owner), None)?;
    }
    Ok(())
}

/// Removes a cgroup and those below it. The files in it are the kernel's and go with it. One that is gone is no error.
pub fn remove_tree(path: &Path) -> io::Result<()> {
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
