//! System calls for helpers.
#![allow(unsafe_code)]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, OwnedFd, RawFd};

use agent_vm_vfork::sys::ChildOptions;
use libc::pid_t;
use nix::errno::Errno;

/// Runs `child` in a copy of this process, which ends when `child` returns. Returns the copy's pid and a descriptor for
/// it.
///
/// The copy's end sends no signal, and a wait for any child does not find it (`__WCLONE` in `wait(2)`), so that a wait
/// for init's children only finds the VM's processes.
pub fn copy(child: impl FnOnce()) -> io::Result<(pid_t, OwnedFd)> {
    let options = ChildOptions {
        pidfd: true,
        ..ChildOptions::default()
    };
    // SAFETY: init has one thread.
    let Some(made) = (unsafe { agent_vm_vfork::sys::copy(&options) })? else {
        child();
        // SAFETY: ends the copy without running exit handlers, which belong to this process.
        unsafe { libc::_exit(0) };
    };
    // The kernel makes no child without also making the descriptor.
    let pidfd = made
        .pidfd
        .ok_or_else(|| io::Error::from_raw_os_error(libc::EMFILE))?;
    Ok((made.pid, pidfd))
}

/// Reaps the child if it has ended; returns whether it has.
pub fn has_ended(pidfd: BorrowedFd<'_>) -> bool {
    found(pidfd, libc::WEXITED | libc::WNOHANG).is_none_or(|found| found)
}

/// Whether the child is stopped; false if it has ended.
pub fn is_stopped(pidfd: BorrowedFd<'_>) -> bool {
    found(pidfd, libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT) == Some(true)
}

/// Whether `waitid(2)` finds the child in such a state; `None` if it is not a child any more.
fn found(pidfd: BorrowedFd<'_>, flags: i32) -> Option<bool> {
    // SAFETY: an all-zero siginfo is valid, and only written to.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let fd = pidfd.as_raw_fd() as libc::id_t;
        let result = libc::waitid(libc::P_PIDFD, fd, &raw mut info, flags | libc::__WALL);
        (result == 0).then(|| info.si_pid() != 0)
    }
}

/// Closes every descriptor except the standard ones and `kept`, for a copy of init that does not use init's structures.
pub fn close_all_but(kept: &[BorrowedFd<'_>]) -> Result<(), Errno> {
    let mut numbers: Vec<RawFd> = kept.iter().map(AsRawFd::as_raw_fd).collect();
    // SAFETY: the closed descriptors belong to init's structures, which the copy of init does not use.
    unsafe { crate::sys::close_all_but(&mut numbers) }
}
