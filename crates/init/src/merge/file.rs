//! Copies one file that is no directory.

use std::ffi::CStr;
use std::fs::File;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, readlinkat};
use nix::sys::sendfile::sendfile64;
use nix::sys::stat::{FileStat, Mode, SFlag, UtimensatFlags, fchmod, futimens, mknodat, utimensat};
use nix::sys::time::TimeSpec;
use nix::unistd::{Gid, Uid, Whence, fchown, fchownat, ftruncate, lseek64, symlinkat};

use super::names::{copy_attributes, kind};

/// How much is copied with one call.
const PIECE: usize = 1 << 30;

/// Copies the file `name`, which `found` describes, to a directory that has no such name.
pub fn copy(
    from_fd: BorrowedFd<'_>,
    name: &CStr,
    found: &FileStat,
    to_fd: BorrowedFd<'_>,
) -> Result<(), Errno> {
    let mode = Mode::from_bits_truncate(found.st_mode);
    match kind(found) {
        SFlag::S_IFREG => {
            let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
            let from = File::from(openat(from_fd, name, flags, Mode::empty())?);
            let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
            let to = File::from(openat(to_fd, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)?);
            copy_content(&from, &to, found.st_size)?;
            return describe(&from, &to, found);
        }
        SFlag::S_IFLNK => symlinkat(&*readlinkat(from_fd, name)?, to_fd, name)?,
        other => mknodat(to_fd, name, other, mode, found.st_rdev)?,
    }
    own(to_fd, name, found)?;
    if kind(found) != SFlag::S_IFLNK {
        // The owner's change has cleared set-id bits.
        nix::sys::stat::fchmodat(to_fd, name, mode, nix::sys::stat::FchmodatFlags::FollowSymlink)?;
    }
    let [accessed, modified] = times(found);
    utimensat(to_fd, name, &accessed, &modified, UtimensatFlags::NoFollowSymlink)
}

/// Gives an open file or directory the owner, mode, attributes and times of another.
pub fn describe(from: &File, to: &File, found: &FileStat) -> Result<(), Errno> {
    let (uid, gid) = owner(found);
    fchown(to, Some(uid), Some(gid))?;
    copy_attributes(from, to)?;
    // Last: the owner's change clears set-id bits, and a list of who may do what changes the mode.
    fchmod(to, Mode::from_bits_truncate(found.st_mode))?;
    let [accessed, modified] = times(found);
    futimens(to, &accessed, &modified)
}

fn own(directory_fd: BorrowedFd<'_>, name: &CStr, found: &FileStat) -> Result<(), Errno> {
    let (uid, gid) = owner(found);
    fchownat(
        directory_fd,
        name,
        Some(uid),
        Some(gid),
        AtFlags::AT_SYMLINK_NOFOLLOW,
    )
}

fn owner(found: &FileStat) -> (Uid, Gid) {
    (Uid::from_raw(found.st_uid), Gid::from_raw(found.st_gid))
}

fn times(found: &FileStat) -> [TimeSpec; 2] {
    [
        TimeSpec::new(found.st_atime, found.st_atime_nsec),
        TimeSpec::new(found.st_mtime, found.st_mtime_nsec),
    ]
}

/// Copies what is written in the file, and leaves its holes.
fn copy_content(from: &File, to: &File, size: i64) -> Result<(), Errno> {
    let mut end = 0;
    while end < size {
        let begin = match lseek64(from, end, Whence::SeekData) {
            Err(Errno::ENXIO) => break,
            begin => begin?,
        };
        end = lseek64(from, begin, Whence::SeekHole)?;
        lseek64(to, begin, Whence::SeekSet)?;
        let mut at = begin;
        while at < end {
            let most = usize::try_from(end - at).unwrap_or(PIECE).min(PIECE);
            if sendfile64(to.as_fd(), from.as_fd(), Some(&mut at), most)? == 0 {
                // It ends earlier than it said: somebody has truncated it.
                return ftruncate(to, size);
            }
        }
    }
    ftruncate(to, size)
}
