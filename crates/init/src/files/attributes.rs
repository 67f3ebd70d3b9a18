//! The attributes of an open file.

use std::os::fd::BorrowedFd;

use agent_vm_protocol::message::Attributes;
use agent_vm_remove_tree::statx;
use nix::errno::Errno;

/// The attributes of the file that `fd` refers to.
pub fn attributes(fd: BorrowedFd<'_>) -> Result<Attributes, Errno> {
    let found = statx(fd, libc::STATX_BASIC_STATS | libc::STATX_BTIME)?;
    let nanos = |time: libc::statx_timestamp| {
        time.tv_sec
            .saturating_mul(1_000_000_000)
            .saturating_add(i64::from(time.tv_nsec))
    };
    // A file system without birth times reports zero; the time of the last change is the closest value.
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
