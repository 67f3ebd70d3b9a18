//! The steps by which a child becomes root in the inner user namespace. Like all that a child does, they only make system
//! calls.

use std::os::fd::RawFd;

use agent_vm_vfork::sys::system_call;
use libc::{c_int, c_long};

use super::step::Step;
use crate::seccomp;
use crate::sys::LOCKED_SECUREBITS;

/// What such a child needs.
#[derive(Debug)]
pub struct InnerRoot {
    /// The namespace.
    pub fd: RawFd,
    filter: libc::sock_fprog,
}

impl InnerRoot {
    /// For the namespace of `fd`, whose only id is root.
    pub fn single(fd: RawFd) -> Self {
        let filter = seccomp::emulated_root();
        Self {
            fd,
            filter: libc::sock_fprog {
                len: filter.len() as u16,
                // The kernel only reads it.
                filter: filter.as_ptr().cast_mut(),
            },
        }
    }

    /// Enters the namespace, and gives up every capability that this gave. `no_new_privs` is set since the boot.
    ///
    /// The caller's memory is init's. It stays hidden from tracing: the kernel resets that flag only where a process gets
    /// another id or capabilities that it did not have before, and a process with the id of the namespace's owner has all
    /// of them from the start (`cred_cap_issubset`).
    pub fn enter(&self) -> Result<(), (Step, c_int)> {
        enter(self.fd)?;
        let prctl = |option: c_int, value: usize| {
            call(
                libc::SYS_prctl,
                [option as usize, value, 0, 0, 0, 0],
                Step::Capabilities,
            )
        };
        for capability in 0..64 {
            match prctl(libc::PR_CAPBSET_DROP, capability) {
                // The first number after the last capability.
                Err((_, libc::EINVAL)) if capability > 0 => break,
                dropped => dropped?,
            }
        }
        prctl(libc::PR_SET_SECUREBITS, LOCKED_SECUREBITS as usize)?;
        let (header, none) = ([VERSION_3, 0], [0_u32; 6]);
        let arguments = [header.as_ptr() as usize, none.as_ptr() as usize, 0, 0, 0, 0];
        call(libc::SYS_capset, arguments, Step::Capabilities)?;
        // Last, because it answers this call for all that follows.
        let install = [
            libc::SECCOMP_SET_MODE_FILTER as usize,
            libc::SECCOMP_FILTER_FLAG_SPEC_ALLOW as usize,
            &raw const self.filter as usize,
            0,
            0,
            0,
        ];
        call(libc::SYS_seccomp, install, Step::Filter)
    }
}

/// Enters a user namespace, with all capabilities in it.
pub fn enter(fd: RawFd) -> Result<(), (Step, c_int)> {
    let fd = fd as usize;
    let user = libc::CLONE_NEWUSER as usize;
    // The sixth argument is for the filter.
    call(
        libc::SYS_setns,
        [fd, user, 0, 0, 0, seccomp::key() as usize],
        Step::Namespace,
    )?;
    call(libc::SYS_close, [fd, 0, 0, 0, 0, 0], Step::Close)
}

/// `_LINUX_CAPABILITY_VERSION_3`.
pub const VERSION_3: u32 = 0x2008_0522;

/// Makes a system call; an error is that of the step.
pub fn call(number: c_long, arguments: [usize; 6], step: Step) -> Result<(), (Step, c_int)> {
    // SAFETY: the arguments are integers, or point to values of the caller that the kernel only reads and that outlive
    // the call.
    match unsafe { system_call(number, arguments) } {
        0.. => Ok(()),
        error => Err((step, -error as c_int)),
    }
}
