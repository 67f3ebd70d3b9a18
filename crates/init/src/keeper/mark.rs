//! How a placeholder is recognized: it is empty, and was modified at a time that no other file has.
//!
//! The mark is on the disk, in the placeholder itself. So a keeper recognizes what another keeper made, also one that was
//! killed. A process that writes to a placeholder, or makes a file in one, takes the mark away: it is then an ordinary file.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::stat::{FileStat, SFlag, fstat, futimens};
use nix::sys::time::TimeSpec;

/// 1985-11-05T00:53:22Z. Even, because some file systems count in units of two seconds.
const MODIFIED: i64 = 500_000_002;

/// Marks an open placeholder. EOPNOTSUPP if the file system does not keep the mark.
pub fn set(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let time = TimeSpec::new(MODIFIED, 0);
    futimens(fd, &time, &time)?;
    if is_set(&fstat(fd)?) {
        Ok(())
    } else {
        Err(Errno::EOPNOTSUPP)
    }
}

/// Whether it is a placeholder that nobody has changed.
pub fn is_set(found: &FileStat) -> bool {
    let is_empty = match kind(found) {
        SFlag::S_IFREG => found.st_size == 0 && found.st_nlink == 1,
        // Whether a directory is empty the kernel checks when it is removed.
        SFlag::S_IFDIR => true,
        _ => false,
    };
    is_empty && (found.st_mtime, found.st_mtime_nsec) == (MODIFIED, 0)
}

/// The type of a file.
pub fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}
