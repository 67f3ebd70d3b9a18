//! Copies the content of one file.

use std::fs::{File, Permissions};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, PermissionsExt};

use nix::errno::Errno;
use nix::sys::stat::futimens;
use nix::sys::time::TimeSpec;
use nix::unistd::{Whence, lseek64};

use super::{failed, regular};
use crate::error::Error;
use crate::vm::WeakVm;

/// What is copied of a mode: all but the set-id bits.
pub const COPIED: u32 = 0o1777;

/// How many bytes are copied between two checks whether the VM still runs.
const PIECE: u64 = 8 * 1024 * 1024;

/// The most that is copied of a file that reports a size of 0, as files of /proc do. They may have no end.
const MOST_UNSIZED: u64 = 16 * 1024 * 1024;

/// Copies the content and the permissions of a regular file, and with `preserve` its times. Holes stay holes.
pub fn copy(from_fd: OwnedFd, to_fd: OwnedFd, preserve: bool, vm: &WeakVm) -> Result<(), Error> {
    let (from, size) = regular(from_fd, "", "read")?;
    let mut to = File::from(to_fd);
    let at = |syscall: &'static str| move |error: io::Error| failed(&error, syscall, "");
    if size == 0 {
        let copied = io::copy(&mut (&from).take(MOST_UNSIZED + 1), &mut to).map_err(at("write"))?;
        if copied > MOST_UNSIZED {
            return Err(at("read")(Errno::EFBIG.into()));
        }
    } else {
        copy_extents(&from, &to, size, vm)?;
        // A hole at the end. The original may have become shorter.
        let size = size.min(from.metadata().map_err(at("fstat"))?.len());
        to.set_len(size).map_err(at("ftruncate"))?;
    }
    let found = from.metadata().map_err(at("fstat"))?;
    to.set_permissions(Permissions::from_mode(found.mode() & COPIED))
        .map_err(at("fchmod"))?;
    if preserve {
        let accessed = TimeSpec::new(found.atime(), found.atime_nsec());
        let modified = TimeSpec::new(found.mtime(), found.mtime_nsec());
        futimens(&to, &accessed, &modified).map_err(|errno| at("utime")(errno.into()))?;
    }
    Ok(())
}

/// Copies the first `size` bytes of a file, except for holes.
fn copy_extents(from: &File, to: &File, size: u64, vm: &WeakVm) -> Result<(), Error> {
    let mut at = 0;
    while at < size {
        let start = match lseek64(from, at as i64, Whence::SeekData) {
            Ok(start) => start as u64,
            // Only a hole is left.
            Err(Errno::ENXIO) => return Ok(()),
            Err(_) => at,
        };
        let end = match lseek64(from, start as i64, Whence::SeekHole) {
            Ok(end) if end as u64 > start => (end as u64).min(size),
            _ => size,
        };
        at = start;
        while at < end {
            if vm.is_ending() {
                return Err(Error::Disposed);
            }
            let (mut source, mut target) = (from, to);
            let copied = seek(source, at)
                .and_then(|()| seek(target, at))
                .and_then(|()| io::copy(&mut source.by_ref().take(PIECE.min(end - at)), &mut target))
                .map_err(|error| failed(&error, "write", ""))?;
            if copied == 0 {
                // It has become shorter.
                return Ok(());
            }
            at += copied;
        }
    }
    Ok(())
}

fn seek(mut file: &File, at: u64) -> io::Result<()> {
    file.seek(SeekFrom::Start(at)).map(drop)
}
