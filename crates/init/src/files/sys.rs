//! `statx(2)`, which nix does not have.
#![allow(unsafe_code)]

use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd};

use agent_vm_protocol::message::Attributes;
use nix::errno::Errno;

/// The attributes of what `fd` refers to.
pub fn attributes(fd: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    let mut found = MaybeUninit::<libc::statx>::zeroed();
    let mask = libc::STATX_BASIC_STATS | libc::STATX_BTIME;
    // SAFETY: the path is empty, and the kernel writes the whole structure.
    Errno::result(unsafe {
        libc::statx(
            fd.as_raw_fd(),
            c"".as_ptr(),
            libc::AT_EMPTY_PATH,
            mask,
            found.as_mut_ptr(),
        )
    })?;
    // SAFETY: all-zero is valid, and the kernel has written it.
    let found = unsafe { found.assume_init() };
    let nanos = |time: libc::statx_timestamp| {
        time.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(time.tv_nsec))
    };
    // A file system without a time of birth gives zero; the time of the last change is the closest to it.
    let birth = if found.stx_mask & libc::STATX_BTIME == 0 {
        found.stx_ctime
    } else {
        found.stx_btime
    };
    Ok(Attributes {
        mode: u32::from(found.stx_mode),
        uid: found.stx_uid,
        gid: found.stx_gid,
        nlink: found.stx_nlink,
        ino: found.stx_ino,
        size: found.stx_size,
        blocks: found.stx_blocks,
        dev: libc::makedev(found.stx_dev_major, found.stx_dev_minor),
        rdev: libc::makedev(found.stx_rdev_major, found.stx_rdev_minor),
        atime_ns: nanos(found.stx_atime),
        mtime_ns: nanos(found.stx_mtime),
        ctime_ns: nanos(found.stx_ctime),
        birthtime_ns: nanos(birth),
    })
}
