//! One name in a directory, opened without following links.

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat};

use crate::sys;

/// A file's device and inode.
pub type Identity = (libc::dev_t, libc::ino_t);

/// Another descriptor of the same file.
pub fn clone(fd: &OwnedFd) -> Result<OwnedFd, Errno> {
    fd.try_clone().map_err(|error| sys::errno_of(&error))
}

/// The identity of a file.
pub fn identity(found: &FileStat) -> Identity {
    (found.st_dev, found.st_ino)
}

/// What a name is, whatever it is: the file (`O_PATH`) and its attributes.
pub fn look(parent_fd: &OwnedFd, name: &CStr) -> Result<(OwnedFd, FileStat), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let fd = openat(parent_fd, name, flags, Mode::empty())?;
    let found = fstat(&fd)?;
    Ok((fd, found))
}

/// Opens a directory or a file for reading, as it was found, without waiting for anything.
pub fn open(parent_fd: &OwnedFd, name: &CStr, is_directory: bool) -> Result<OwnedFd, Errno> {
    let mut flags =
        OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    flags.set(OFlag::O_DIRECTORY, is_directory);
    openat(parent_fd, name, flags, Mode::empty())
}

/// The attributes of what a name is now.
pub fn named(parent_fd: impl AsFd, name: &CStr) -> Result<FileStat, Errno> {
    fstatat(parent_fd, name, AtFlags::AT_SYMLINK_NOFOLLOW)
}
