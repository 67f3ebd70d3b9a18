//! System calls of the deputy.
#![allow(unsafe_code)]

use libc::pid_t;
use nix::errno::Errno;

/// Runs `child` in a fork of this process, which ends when `child` returns. Returns the fork's pid.
///
/// # Safety
/// This process must have only one thread. Otherwise `child` could find a lock held for ever or a half-written
/// structure.
pub unsafe fn fork(child: impl FnOnce()) -> Result<pid_t, Errno> {
    // SAFETY: with one thread, every lock is free in the fork, which may do everything that this process may.
    let pid = Errno::result(unsafe { libc::fork() })?;
    if pid == 0 {
        child();
        // SAFETY: ends the fork without running exit handlers, which belong to this process.
        unsafe { libc::_exit(0) };
    }
    Ok(pid)
}

/// Whether this process may signal its parent.
pub fn may_signal_parent() -> bool {
    // SAFETY: takes integers only; 0 is no signal.
    unsafe { libc::kill(libc::getppid(), 0) == 0 }
}

/// Sends SIGKILL to every process that this one may signal, which in the Landlock domain is every process of the domain.
pub fn kill_domain() {
    // SAFETY: takes integers only. It fails if there is no such process.
    unsafe { libc::kill(-1, libc::SIGKILL) };
}
