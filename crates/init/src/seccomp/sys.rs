//! The system call `seccomp(2)`.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{FromRawFd, OwnedFd, RawFd};

use libc::{c_long, c_ulong};

/// `linux/seccomp.h`; since Linux 5.0 and 5.19.
const FLAG_NEW_LISTENER: c_ulong = 1 << 3;
const FLAG_WAIT_KILLABLE_RECV: c_ulong = 1 << 5;

/// Puts the calling thread, and everything that it starts from now on, under `filter`.
pub(super) fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    set(filter, 0).map(drop)
}

/// Like [`install`], with a filter that makes the kernel ask about some calls. Returns the descriptor on which the
/// kernel asks; once that is closed, these calls fail with ENOSYS.
///
/// A call that waits for its answer is only interrupted by signals that kill. Before Linux 5.19 other signals interrupt
/// it too, and the call is then repeated: changing a file twice in the same way has the same result as once.
pub fn listen(filter: &[libc::sock_filter]) -> io::Result<OwnedFd> {
    let fd = match set(filter, FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV) {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => set(filter, FLAG_NEW_LISTENER)?,
        other => other?,
    };
    // SAFETY: the kernel has just made it, and nothing else has it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd as RawFd) })
}

fn set(filter: &[libc::sock_filter], flags: c_ulong) -> io::Result<c_long> {
    let program = libc::sock_fprog {
        len: filter.len() as u16,
        filter: filter.as_ptr().cast_mut(),
    };
    // SAFETY: `program` describes a slice of instructions, which the kernel copies during the call and only reads, whatever
    // the pointer's type says.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW | flags,
            &raw const program,
        )
    };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}
