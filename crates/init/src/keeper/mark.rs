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

/// How often a mark is set before it counts as one that the file system does not keep.
const TRIES: u32 = 10;

/// Marks an open placeholder. ESTALE if somebody has made another file of it, EOPNOTSUPP if the file system does not keep the mark.
///
/// A process that makes or removes a file in a directory just then takes the mark away, too.
pub fn set(fd: BorrowedFd<'_>) -> Result<(), Errno> {
    let time = TimeSpec::new(MODIFIED, 0);
    for _ in 0..TRIES {
        futimens(fd, &time, &time)?;
        let found = fstat(fd)?;
        if is_set(&found) {
            return Ok(());
        }
        if !is_empty(&found) {
            return Err(Errno::ESTALE);
        }
    }
    Err(Errno::EOPNOTSUPP)
}

/// Whether it is a placeholder that nobody has changed.
pub fn is_set(found: &FileStat) -> bool {
    is_empty(found) && (found.st_mtime, found.st_mtime_nsec) == (MODIFIED, 0)
}

fn is_empty(found: &FileStat) -> bool {
    match kind(found) {
        SFlag::S_IFREG => found.st_size == 0 && found.st_nlink == 1,
        // Whether a directory is empty the kernel checks when it is removed.
        SFlag::S_IFDIR => true,
        _ => false,
    }
}

/// The type of a file.
pub fn kind(found: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(found.st_mode) & SFlag::S_IFMT
}
