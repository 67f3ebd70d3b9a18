//! Resolves the paths of steps, without following a magic link.

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag, readlinkat};
use nix::sys::stat::{Mode, mkdirat};
use nix::sys::statfs::{PROC_SUPER_MAGIC, fstatfs};
use nix::unistd::{Pid, getpid, getppid};

use crate::sys::openat2;

/// `RESOLVE_CACHED` (`linux/openat2.h`), since Linux 5.12.
const CACHED: ResolveFlag = ResolveFlag::from_bits_retain(0x20);

/// Opens `path` without following a magic link.
pub fn resolve(base: BorrowedFd<'_>, path: &[u8], flags: OFlag) -> Result<OwnedFd, Errno> {
    resolve_with(base, path, flags, Mode::empty(), ResolveFlag::empty())
}

/// Like [`resolve`], with the mode of a file that `O_CREAT` makes, and further restrictions.
pub fn resolve_with(
    base: BorrowedFd<'_>,
    path: &[u8],
    flags: OFlag,
    mode: Mode,
    links: ResolveFlag,
) -> Result<OwnedFd, Errno> {
    let flags = flags | OFlag::O_CLOEXEC;
    let fd = loop {
        match openat2(
            base,
            path,
            flags,
            if flags.contains(OFlag::O_CREAT) {
                mode
            } else {
                Mode::empty()
            },
            ResolveFlag::RESOLVE_NO_MAGICLINKS | links,
        ) {
            Err(Errno::EINTR) => {}
            other => break other?,
        }
    };
    if is_inits(fd.as_fd())? {
        Err(Errno::EACCES)
    } else {
        Ok(fd)
    }
}

/// Whether it is one of the files in `/proc` about init: for init, `/proc/self` is init, and the kernel lets every
/// process read about itself.
fn is_inits(fd: BorrowedFd<'_>) -> Result<bool, Errno> {
    is_about(fd, getpid())
}

/// Whether it is one of the files in `/proc` about that process.
fn is_about(fd: BorrowedFd<'_>, pid: Pid) -> Result<bool, Errno> {
    if fstatfs(fd)?.filesystem_type() != PROC_SUPER_MAGIC {
        return Ok(false);
    }
    let shown = path_of(fd)?;
    let own = format!("/proc/{pid}");
    Ok(shown
        .strip_prefix(own.as_bytes())
        .is_some_and(|rest| rest.is_empty() || rest.starts_with(b"/")))
}

/// The path of an open file, as the kernel shows it.
pub fn path_of(fd: BorrowedFd<'_>) -> Result<Vec<u8>, Errno> {
    let shown = readlinkat(AT_FDCWD, format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str())?;
    Ok(shown.into_encoded_bytes())
}

/// Opens a directory with `O_PATH`, without following a magic link.
pub fn directory(path: &[u8]) -> Result<OwnedFd, Errno> {
    open_directory(AT_FDCWD, path)
}

/// Like [`directory`], in a helper of init's: refuses the directories in `/proc` about init, too.
pub fn directory_for_init(path: &[u8]) -> Result<OwnedFd, Errno> {
    let fd = directory(path)?;
    if is_about(fd.as_fd(), getppid())? {
        Err(Errno::EACCES)
    } else {
        Ok(fd)
    }
}

/// Like [`directory`], if the kernel has all names on the path in its cache and so needs no lock of a directory, which a
/// program could hold; `None` otherwise.
pub fn cached_directory(path: &[u8]) -> Result<Option<OwnedFd>, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let links = ResolveFlag::RESOLVE_NO_MAGICLINKS | CACHED;
    match openat2(AT_FDCWD, path, flags, Mode::empty(), links) {
        // Only a path through /proc would show whose directory it is, and programs can hold locks there too.
        Ok(fd) if fstatfs(&fd)?.filesystem_type() == PROC_SUPER_MAGIC => Ok(None),
        Ok(fd) => Ok(Some(fd)),
        // EINVAL before Linux 5.12, which cannot say.
        Err(Errno::EAGAIN | Errno::EINVAL | Errno::EINTR) => Ok(None),
        Err(errno) => Err(errno),
    }
}

/// Like [`directory`], relative to `base`.
pub fn open_directory(base: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    resolve(base, path, OFlag::O_PATH | OFlag::O_DIRECTORY)
}

/// Like [`open_directory`], at the end of a path without symbolic links; ELOOP if there is one.
pub fn open_directory_without_links(base: BorrowedFd<'_>, path: &[u8]) -> Result<OwnedFd, Errno> {
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
    resolve_with(base, path, flags, Mode::empty(), ResolveFlag::RESOLVE_NO_SYMLINKS)
}

/// Opens a directory, and makes missing directories on the way.
pub fn create_directories(base: BorrowedFd<'_>, path: &[u8], mode: Mode) -> Result<OwnedFd, Errno> {
    match open_directory(base, path) {
        Err(Errno::ENOENT) => {}
        // The same error as mkdir's if a file is in the way.
        Err(Errno::ENOTDIR) => {
            return Err(if resolve(base, path, OFlag::O_PATH).is_ok() {
                Errno::EEXIST
            } else {
                Errno::ENOTDIR
            });
        }
        other => return other,
    }
    let mut fd = open_directory(base, if path.starts_with(b"/") { b"/" } else { b"." })?;
    for name in path.split(|byte| *byte == b'/').filter(|name| !name.is_empty()) {
        fd = match open_directory(fd.as_fd(), name) {
            Err(Errno::ENOENT) => {
                match mkdirat(&fd, name, mode) {
                    // Another process was faster, or it is a link without a target, which opening will report.
                    Ok(()) | Err(Errno::EEXIST) => {}
                    Err(errno) => return Err(errno),
                }
                open_directory(fd.as_fd(), name)?
            }
            other => other?,
        };
    }
    Ok(fd)
}

/// The directory and the last name of a path, with its trailing slashes, which make the kernel require a directory;
/// `None` for the root.
pub fn split(path: &[u8]) -> Option<(&[u8], &[u8])> {
    let end = path.iter().rposition(|byte| *byte != b'/')? + 1;
    match path[..end].iter().rposition(|byte| *byte == b'/') {
        Some(0) => Some((b"/", &path[1..])),
        Some(at) => Some((&path[..at], &path[at + 1..])),
        None => Some((b".", path)),
    }
}
