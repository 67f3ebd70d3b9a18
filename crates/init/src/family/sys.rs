//! The limit on file locks of the calling process.
#![allow(unsafe_code)]

use agent_vm_vfork::sys::system_call;
use nix::errno::Errno;

use crate::seccomp;

/// The soft and the hard limit.
pub fn lock_limits() -> Result<(u64, u64), Errno> {
    let mut limits = libc::rlimit {
        rlim_cur: 0,
        rlim_max: 0,
    };
    // SAFETY: the kernel writes to `limits`.
    Errno::result(unsafe { libc::getrlimit(libc::RLIMIT_LOCKS, &raw mut limits) })?;
    Ok((limits.rlim_cur, limits.rlim_max))
}

/// Sets both, which the filter lets init alone do. Makes one system call and changes no `errno`, so a child that shares
/// init's memory may call it too.
pub fn set_lock_limits(soft: u64, hard: u64) -> Result<(), Errno> {
    let limits = libc::rlimit {
        rlim_cur: soft,
        rlim_max: hard,
    };
    let arguments = [
        0,
        libc::RLIMIT_LOCKS as usize,
        &raw const limits as usize,
        0,
        0,
        seccomp::key() as usize,
    ];
    // SAFETY: the kernel reads `limits` and writes nothing; the filter alone looks at the sixth argument.
    match unsafe { system_call(libc::SYS_prlimit64, arguments) } {
        0 => Ok(()),
        error => Err(Errno::from_raw(-error as i32)),
    }
}
