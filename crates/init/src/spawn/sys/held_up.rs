//! Ends or continues a child that does not go on. Its pid stays its own until init reaps it.

use libc::pid_t;

/// Whether the child is stopped; false if it has ended.
pub fn is_stopped(pid: pid_t) -> bool {
    // SAFETY: an all-zero siginfo is valid, and only written to.
    unsafe {
        let mut info: libc::siginfo_t = std::mem::zeroed();
        let flags = libc::WSTOPPED | libc::WNOHANG | libc::WNOWAIT;
        libc::waitid(libc::P_PID, pid as libc::id_t, &raw mut info, flags) == 0 && info.si_pid() == pid
    }
}

/// Kills a child that has not been reaped yet.
pub fn kill(pid: pid_t) {
    // SAFETY: takes integers only.
    unsafe { libc::kill(pid, libc::SIGKILL) };
}

/// Continues a stopped child.
pub fn resume(pid: pid_t) {
    // SAFETY: takes integers only.
    unsafe { libc::kill(pid, libc::SIGCONT) };
}
