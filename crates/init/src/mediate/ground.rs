//! Decides which files init changes for programs, and which modes they may get.

use std::ffi::CString;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use agent_vm_remove_tree::statx;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag, readlinkat};
use nix::sys::stat::{Mode, SFlag, fstat};

use super::arguments::NamedFile;
use super::caller::Caller;
use super::replaced::Replaced;
use crate::sys::openat2;

/// `S_ISUID` and `S_ISGID`.
const SET_USER_ID: u32 = 0o4000;
const SET_IDS: u32 = 0o6000;

/// Where the files are that init may change.
pub enum Ground<'a> {
    /// In a VM without namespaces: below the VM's directory on the host.
    Directory {
        directory_fd: BorrowedFd<'a>,
        replaced: &'a Replaced,
    },
    /// In a VM with its own root: on the VM's own mounts, and in the host directories that it shows.
    Root {
        own: &'a OwnMounts,
        /// The user namespace of the VM's users, if they are real.
        users_fd: Option<BorrowedFd<'a>>,
    },
}

impl Ground<'_> {
    /// The descriptors that it needs.
    pub fn fds(&self) -> Vec<BorrowedFd<'_>> {
        match self {
            Self::Directory {
                directory_fd,
                replaced,
            } => replaced.fds().chain([*directory_fd]).collect(),
            Self::Root { .. } => Vec::new(),
        }
    }

    /// The files that programs read instead of the host's.
    pub fn replaced(&self) -> Option<&Replaced> {
        match self {
            Self::Directory { replaced, .. } => Some(replaced),
            Self::Root { .. } => None,
        }
    }

    /// The user namespace of the VM's users, if they are real.
    pub fn users_fd(&self) -> Option<BorrowedFd<'_>> {
        match self {
            Self::Directory { .. } => None,
            Self::Root { users_fd, .. } => *users_fd,
        }
    }

    /// Opens what a call names by a descriptor of the caller or relative to its working directory, for [`find`](Self::find).
    pub fn start(&self, caller: &Caller, named: &NamedFile) -> Result<Option<OwnedFd>, Errno> {
        match (self, named) {
            (Self::Root { .. }, NamedFile::Descriptor(number)) => caller.open(Some(*number)).map(Some),
            // An absolute path does not depend on the directory, and such a call may pass a descriptor that does not exist.
            (Self::Root { .. }, NamedFile::Path { path, .. }) if path.to_bytes().starts_with(b"/") => {
                Ok(None)
            }
            (Self::Root { .. }, NamedFile::Path { directory, .. }) => caller.open(*directory).map(Some),
            (Self::Directory { .. }, _) => Ok(None),
        }
    }

    /// Opens the file that a call names with `O_PATH`, with the rights that this process has. `start` is what
    /// [`start`](Self::start) has opened.
    pub fn find(&self, caller: &Caller, named: &NamedFile, start: Option<OwnedFd>) -> Result<OwnedFd, Errno> {
        match (self, named) {
            (
                Self::Directory { directory_fd, .. },
                NamedFile::Path {
                    directory,
                    path,
                    follow,
                },
            ) => below(*directory_fd, caller, *directory, path, *follow),
            (
                Self::Directory {
                    directory_fd,
                    replaced,
                },
                NamedFile::Descriptor(number),
            ) => held(*directory_fd, caller, replaced, *number),
            (Self::Root { .. }, NamedFile::Path { path, follow, .. }) => {
                let base_fd = start.as_ref().unwrap_or(caller.fd());
                in_root(base_fd.as_fd(), path, *follow)
            }
            (Self::Root { .. }, NamedFile::Descriptor(_)) => start.ok_or(Errno::EBADF),
        }
    }

    /// Whether init may change the attributes of an opened file at all.
    pub fn includes(&self, file_fd: BorrowedFd<'_>) -> Result<(), Errno> {
        match self {
            Self::Directory {
                directory_fd,
                replaced,
            } => contains(*directory_fd, replaced, file_fd),
            // The kernel decides by the rights of the VM's user.
            Self::Root { .. } => Ok(()),
        }
    }

    /// Whether the file may get a mode. On a host directory, directories may be set-group-id, which gives their group
    /// to new files in them; nothing else may be set-id.
    pub fn takes(&self, file_fd: BorrowedFd<'_>, mode: u32) -> Result<(), Errno> {
        let kind = SFlag::from_bits_truncate(fstat(file_fd)?.st_mode) & SFlag::S_IFMT;
        if kind == SFlag::S_IFLNK {
            // The same error as the kernel's, which returns it for all calls since Linux 6.6.
            return Err(Errno::EOPNOTSUPP);
        }
        if mode & SET_IDS == 0 || (kind == SFlag::S_IFDIR && mode & SET_USER_ID == 0) {
            return Ok(());
        }
        match self {
            Self::Root { own, .. } if own.include(file_fd)? => Ok(()),
            _ => Err(Errno::EPERM),
        }
    }
}

/// The VM's own mounts on which programs can change files. All other files that they see are the host's or, like pipes,
/// on no mount of the VM.
///
/// No mode of a file on these mounts has an effect: the mounts ignore set-id bits, are in no mount namespace except the
/// VM's, and belong to its user namespace. So the kernel ignores the bits through any descriptor or path of `/proc` too
/// (`mnt_may_suid` in the kernel's `fs/namespace.c`).
#[derive(Debug, Default)]
pub struct OwnMounts {
    /// The number of a mount is not reused while the mount exists, and these mounts end with the VM.
    numbers: Vec<u64>,
    /// Whether programs can change files on these mounts only.
    are_all: bool,
}

impl OwnMounts {
    /// Those of a VM that shows nothing of the host and has its own network: every file that its programs can change is
    /// on them.
    pub fn all() -> Self {
        Self {
            numbers: Vec::new(),
            are_all: true,
        }
    }

    /// Adds the mount on which `fd` is.
    pub fn add(&mut self, fd: BorrowedFd<'_>) -> Result<(), Errno> {
        // Before Linux 5.8 the number of a mount is not available: all files then count as the host's.
        self.numbers.extend(mount_of(fd)?);
        Ok(())
    }

    fn include(&self, fd: BorrowedFd<'_>) -> Result<bool, Errno> {
        Ok(self.are_all || mount_of(fd)?.is_some_and(|number| self.numbers.contains(&number)))
    }
}

/// The number of the mount on which `fd` is; `None` before Linux 5.8.
fn mount_of(fd: BorrowedFd<'_>) -> Result<Option<u64>, Errno> {
    let found = statx(fd, libc::STATX_MNT_ID)?;
    Ok((found.stx_mask & libc::STATX_MNT_ID != 0).then_some(found.stx_mnt_id))
}

/// The file that a path names in the VM's root, which is also the caller's, because no program can change its root.
/// Magic links are not followed, since `/proc/self` would be init's.
fn in_root(base_fd: BorrowedFd<'_>, path: &CString, follow: bool) -> Result<OwnedFd, Errno> {
    let link = if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | link;
    let no_magic = ResolveFlag::RESOLVE_NO_MAGICLINKS;
    openat2(base_fd, path.as_c_str(), flags, Mode::empty(), no_magic).map_err(|errno| match errno {
        Errno::EAGAIN => Errno::EPERM,
        other => other,
    })
}

/// The file that a path names, which must be below the VM's directory.
fn below(
    directory: BorrowedFd<'_>,
    caller: &Caller,
    from: Option<i32>,
    path: &CString,
    follow: bool,
) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let whole = if path.is_absolute() {
        path.to_owned()
    } else {
        // Its current path. If it is moved meanwhile, the call fails, or finds the file that is there then.
        path_of(caller.open(from)?.as_fd())?.join(path)
    };
    let inside = whole
        .strip_prefix(path_of(directory)?)
        .map_err(|_| Errno::EPERM)?;
    resolve(directory, inside, follow)
}

/// The file that a descriptor of the caller refers to, which must be below the VM's directory or have no name. The
/// files that programs read instead of the host's have no name either, and are not changed.
fn held(
    directory: BorrowedFd<'_>,
    caller: &Caller,
    replaced: &Replaced,
    number: i32,
) -> Result<OwnedFd, Errno> {
    let fd = caller.open(Some(number))?;
    contains(directory, replaced, fd.as_fd())?;
    Ok(fd)
}

/// Fails with EPERM unless an opened file is below the VM's directory, or has no name and is not one of the files that
/// programs read instead of the host's.
fn contains(directory: BorrowedFd<'_>, replaced: &Replaced, fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let found = fstat(fd)?;
    if found.st_nlink == 0 {
        return if replaced.includes(&found)? {
            Err(Errno::EPERM)
        } else {
            Ok(())
        };
    }
    let path = path_of(fd)?;
    let inside = path.strip_prefix(path_of(directory)?).map_err(|_| Errno::EPERM)?;
    let there = fstat(resolve(directory, inside, false)?)?;
    if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) {
        Ok(())
    } else {
        Err(Errno::EPERM)
    }
}

fn resolve(directory: BorrowedFd<'_>, path: &Path, follow: bool) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let link = if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | link;
    let inside =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(directory, path, flags, Mode::empty(), inside).map_err(|errno| match errno {
        // It leads out of the directory; EAGAIN means that the kernel could not make sure.
        Errno::EXDEV | Errno::EAGAIN => Errno::EPERM,
        other => other,
    })
}

fn path_of(fd: BorrowedFd<'_>) -> Result<std::path::PathBuf, Errno> {
    let path = readlinkat(AT_FDCWD, format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str())?;
    Ok(path.into())
}
