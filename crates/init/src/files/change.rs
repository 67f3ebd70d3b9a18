//! Changes attributes of files. A file call may change what a program of the VM may.

use std::os::fd::{AsRawFd, BorrowedFd};

use agent_vm_protocol::message::{Change, Time, is_kernel_interface};
use nix::errno::Errno;
use nix::fcntl::AT_FDCWD;
use nix::sys::stat::{UtimensatFlags, utimensat};
use nix::sys::statfs::fstatfs;
use nix::sys::time::TimeSpec;

use crate::mediate::{Ground, change_mode};

/// Changes the file that `fd`, which may be opened with `O_PATH`, refers to.
pub fn change(fd: BorrowedFd<'_>, change: Change, ground: &Ground<'_>) -> Result<(), Errno> {
    if is_kernel_interface(fstatfs(fd)?.filesystem_type().0) {
        return Err(Errno::EACCES);
    }
    ground.includes(fd)?;
    // Through /proc, the only way to name a file by an `O_PATH` descriptor.
    let name = format!("/proc/self/fd/{}", fd.as_raw_fd());
    match change {
        Change::Mode(mode) => {
            ground.takes(fd, mode)?;
            change_mode(AT_FDCWD, &name, mode)
        }
        Change::Times { accessed, modified } => utimensat(
            AT_FDCWD,
            name.as_str(),
            &time(accessed),
            &time(modified),
            UtimensatFlags::FollowSymlink,
        ),
    }
}

fn time(time: Option<Time>) -> TimeSpec {
    time.map_or(TimeSpec::UTIME_OMIT, |time| {
        TimeSpec::new(time.seconds, i64::from(time.nanoseconds.min(999_999_999)))
    })
}
