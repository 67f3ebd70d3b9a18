//! System calls about a name in an open directory. None follows a link.

use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, openat2, readlinkat};
use nix::sys::stat::{Mode, fchmod, fstat, fstatat, futimens};
use nix::sys::time::TimeSpec;

use super::entry::{Content, Found, Kept};
use super::named;
use super::trail::failed;
use crate::error::Error;
use crate::files::entries::{Amount, Detail, list};

/// Never the controlling terminal, and never a wait for a FIFO's other end.
pub const ALWAYS: OFlag = OFlag::O_CLOEXEC
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOFOLLOW);

/// What a directory contains.
pub fn names(fd: &OwnedFd, path: &str, most: Amount) -> Result<Vec<Found>, Error> {
    let names = list(fd.as_fd(), path, Detail::Types, most, &|_| true).map_err(|error| named(error, b""))?;
    let found = names.into_iter().map(|name| Found {
        name: name.bytes,
        kind: name.entry.kind,
    });
    Ok(found.collect())
}

/// A link's content; `None` if it is gone, or is no link any more.
pub fn read_link(directory: &OwnedFd, name: &[u8]) -> Result<Option<Content>, Error> {
    let found = match fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
        Err(Errno::ENOENT) => return Ok(None),
        other => other.map_err(|errno| failed(errno, "lstat", name))?,
    };
    match readlinkat(directory, name) {
        Ok(target) => Ok(Some(Content::Symlink {
            target: target.as_bytes().to_vec(),
            modified: Kept::of(&found).modified.unwrap_or_default(),
        })),
        Err(Errno::ENOENT | Errno::EINVAL) => Ok(None),
        Err(errno) => Err(failed(errno, "readlink", name)),
    }
}

pub fn open_directory(base: &OwnedFd, way: &[u8]) -> Result<OwnedFd, Error> {
    openat2(
        base,
        way,
        how(OFlag::O_RDONLY | OFlag::O_DIRECTORY, Mode::empty()),
    )
    .map_err(|errno| {
        let errno = match errno {
            // A link is there.
            Errno::ELOOP => Errno::ENOTDIR,
            other => other,
        };
        failed(errno, "open", way)
    })
}

pub fn how(flags: OFlag, mode: Mode) -> OpenHow {
    OpenHow::new().flags(flags | ALWAYS).mode(mode).resolve(
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_SYMLINKS | ResolveFlag::RESOLVE_NO_MAGICLINKS,
    )
}

/// Gives a new file or directory its attributes.
pub fn give(fd: impl AsFd, kept: Kept, name: &[u8]) -> Result<(), Error> {
    fchmod(&fd, Mode::from_bits_truncate(kept.mode)).map_err(|errno| failed(errno, "fchmod", name))?;
    touch(fd, kept, name)
}

/// Gives a new file its attributes, which it was made with as far as the umask allowed.
pub fn give_new(fd: impl AsFd, kept: Kept, name: &[u8]) -> Result<(), Error> {
    let found = fstat(&fd).map_err(|errno| failed(errno, "fstat", name))?;
    if found.st_mode & 0o7777 == kept.mode {
        touch(fd, kept, name)
    } else {
        give(fd, kept, name)
    }
}

fn touch(fd: impl AsFd, kept: Kept, name: &[u8]) -> Result<(), Error> {
    let Some(modified) = kept.modified else {
        return Ok(());
    };
    futimens(&fd, &TimeSpec::UTIME_OMIT, &time(modified)).map_err(|errno| failed(errno, "utime", name))
}

pub fn time((seconds, nanoseconds): (i64, u32)) -> TimeSpec {
    TimeSpec::new(seconds, i64::from(nanoseconds))
}
