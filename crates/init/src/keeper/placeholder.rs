//! A file or directory that is there for a mount alone, or a directory that was made for one.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, Flock, FlockArg, OFlag, openat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, SFlag, fchmodat, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, geteuid, unlinkat};

use super::mark::{self, kind};
use super::place::{Identity, clone, identity, named, open};

const FILE: Mode = Mode::from_bits_truncate(0o444);
const DIRECTORY: Mode = Mode::from_bits_truncate(0o755);

/// A placeholder.
pub struct Placeholder {
    parent_fd: OwnedFd,
    /// Its name in the directory.
    pub name: CString,
    /// Its device and inode.
    pub identity: Identity,
    is_directory: bool,
    open: Open,
}

/// The open placeholder.
enum Open {
    /// With a lock: it is mounted over.
    Locked(Flock<OwnedFd>),
    /// Without one: it contains others.
    Unlocked(OwnedFd),
}

impl Placeholder {
    /// Makes one, without its mark. EEXIST if there is something else.
    pub fn make(
        parent_fd: &OwnedFd,
        name: &CStr,
        is_directory: bool,
        is_locked: bool,
    ) -> Result<Self, Errno> {
        let parent_fd = clone(parent_fd)?;
        let opened = if is_directory {
            mkdirat(&parent_fd, name, DIRECTORY)?;
            open(&parent_fd, name, true)
        } else {
            let flags =
                OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
            Ok(openat(&parent_fd, name, flags, FILE)?)
        };
        let made = opened.and_then(|fd| {
            let found = fstat(&fd)?;
            if !is_locked {
                return Ok((identity(&found), Open::Unlocked(fd)));
            }
            // Who cannot lock it exclusively could not remove it later: over NFS, only what is open for writing.
            let lock = Flock::lock(fd, FlockArg::LockExclusiveNonblock).map_err(|(_, errno)| errno)?;
            lock.relock(FlockArg::LockSharedNonblock)?;
            Ok((identity(&found), Open::Locked(lock)))
        });
        match made {
            Ok((identity, open)) => Ok(Self {
                parent_fd,
                name: name.to_owned(),
                identity,
                is_directory,
                open,
            }),
            Err(errno) => {
                unlinkat(&parent_fd, name, flag(is_directory))?;
                Err(errno)
            }
        }
    }

    /// Shares one that another keeper has made and this one has found. ESTALE if somebody changes or removes it now.
    pub fn share(parent_fd: &OwnedFd, name: &CStr, found: &FileStat, is_locked: bool) -> Result<Self, Errno> {
        let is_directory = kind(found) == SFlag::S_IFDIR;
        let found = identity(found);
        let fd = match open(parent_fd, name, is_directory) {
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO | Errno::ENOTDIR) => return Err(Errno::ESTALE),
            fd => fd?,
        };
        let open = if is_locked {
            match Flock::lock(fd, FlockArg::LockSharedNonblock) {
                // Another keeper removes it.
                Err((_, Errno::EWOULDBLOCK)) => return Err(Errno::ESTALE),
                lock => Open::Locked(lock.map_err(|(_, errno)| errno)?),
            }
        } else {
            Open::Unlocked(fd)
        };
        let shared = Self {
            parent_fd: clone(parent_fd)?,
            name: name.to_owned(),
            identity: found,
            is_directory,
            open,
        };
        // Only with the lock is it sure that the name still leads to it.
        let now = fstat(shared.fd())?;
        match named(parent_fd, name) {
            Ok(named) if identity(&named) == found && identity(&now) == found && mark::is_set(&named) => {
                Ok(shared)
            }
            _ => Err(Errno::ESTALE),
        }
    }

    /// Whether it has its mark.
    pub fn has_mark(&self) -> bool {
        fstat(self.fd()).is_ok_and(|found| mark::is_set(&found))
    }

    /// The open placeholder.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.open.fd()
    }

    /// Removes it, unless another keeper holds it or it is a placeholder no more. `had_mark` says whether it had its mark
    /// before the keeper removed what it contained; if it is not empty, it gets the mark back.
    pub fn remove(self, had_mark: bool) -> Result<(), Errno> {
        if let Open::Locked(lock) = &self.open {
            match lock.relock(FlockArg::LockExclusiveNonblock) {
                Err(Errno::EWOULDBLOCK) => return Ok(()),
                locked => locked?,
            }
        }
        let closed = self.open_parent()?;
        let removed = self.remove_named(had_mark);
        if let Some(mode) = closed {
            self.set_parent_mode(mode)?;
        }
        removed
    }

    fn remove_named(&self, had_mark: bool) -> Result<(), Errno> {
        match named(&self.parent_fd, &self.name) {
            Err(Errno::ENOENT) => return Ok(()),
            Err(errno) => return Err(errno),
            Ok(found) if identity(&found) != self.identity => return Ok(()),
            // A directory is removed only if it is empty.
            Ok(found) if !self.is_directory && !mark::is_set(&found) => return Ok(()),
            Ok(_) => {}
        }
        match self.unlink() {
            // Placeholders of other keepers are in it, which share it.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) if had_mark => mark::set(self.fd()),
            Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOENT) => Ok(()),
            removed => removed,
        }
    }

    /// Removes what has its name.
    pub fn unlink(&self) -> Result<(), Errno> {
        unlinkat(&self.parent_fd, &*self.name, flag(self.is_directory))
    }

    /// Makes the directory writable, if this process's user has it and a program has taken that right away. Returns its
    /// mode before. Root needs no right.
    fn open_parent(&self) -> Result<Option<Mode>, Errno> {
        const NEEDED: libc::mode_t = libc::S_IWUSR | libc::S_IXUSR;
        let found = fstat(&self.parent_fd)?;
        if found.st_mode & NEEDED == NEEDED || found.st_uid != geteuid().as_raw() {
            return Ok(None);
        }
        let mode = Mode::from_bits_truncate(found.st_mode);
        self.set_parent_mode(mode | Mode::S_IWUSR | Mode::S_IXUSR)?;
        Ok(Some(mode))
    }

    fn set_parent_mode(&self, mode: Mode) -> Result<(), Errno> {
        // The descriptor may be one that only names the directory.
        let path = format!("/proc/self/fd/{}", self.parent_fd.as_raw_fd());
        fchmodat(AT_FDCWD, path.as_str(), mode, FchmodatFlags::FollowSymlink)
    }
}

impl Open {
    fn fd(&self) -> BorrowedFd<'_> {
        match self {
            Self::Locked(lock) => lock.as_fd(),
            Self::Unlocked(fd) => fd.as_fd(),
        }
    }
}

fn flag(is_directory: bool) -> UnlinkatFlags {
    if is_directory {
        UnlinkatFlags::RemoveDir
    } else {
        UnlinkatFlags::NoRemoveDir
    }
}
