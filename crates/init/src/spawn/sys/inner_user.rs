//! The steps by which a child becomes a user of an inner user namespace with a range of ids. Like all that a child does, they
//! only make system calls.

use std::os::fd::RawFd;

use agent_vm_protocol::message::UserNumbers;
use libc::c_int;

use super::inner::{VERSION_3, call, enter};
use super::step::Step;

/// The user that such a child becomes.
#[derive(Debug)]
pub struct InnerUser {
    /// The namespace.
    pub fd: RawFd,
    user: UserNumbers,
    /// The capabilities of root.
    of_root: u32,
}

impl InnerUser {
    /// For the namespace of `fd`, whose root has the capabilities `of_root`.
    pub fn new(fd: RawFd, user: UserNumbers, of_root: u32) -> Self {
        Self { fd, user, of_root }
    }

    /// Enters the namespace, gives the user the standard descriptors, and becomes the user.
    pub fn enter(&self) -> Result<(), (Step, c_int)> {
        enter(self.fd)?;
        let (uid, gid) = (self.user.uid as usize, self.user.gid as usize);
        // So that programs can open `/dev/stdout`. This is refused for `/dev/null`, which is not the VM's.
        for fd in 0..3 {
            let _ = call(libc::SYS_fchown, [fd, uid, gid, 0, 0, 0], Step::User);
        }
        self.change()
    }

    /// Enters the namespace, and becomes the user.
    pub fn enter_alone(&self) -> Result<(), (Step, c_int)> {
        enter(self.fd)?;
        self.change()
    }

    /// Becomes the user. What a program then has is decided by the kernel: root has what is in the bounding set, other users have
    /// nothing.
    ///
    /// The caller's memory is a copy of init's, or init's own while the host has `fs.suid_dumpable` at 0. A change of ids makes it
    /// traceable where that is 1. So it is hidden again before this process gives up the capabilities: until then only a process
    /// with all capabilities in this namespace could trace it, and there is none.
    fn change(&self) -> Result<(), (Step, c_int)> {
        let prctl = |option: c_int, value: usize| {
            call(
                libc::SYS_prctl,
                [option as usize, value, 0, 0, 0, 0],
                Step::Capabilities,
            )
        };
        for capability in 0..64 {
            if capability < 32 && self.of_root & (1 << capability) != 0 {
                continue;
            }
            match prctl(libc::PR_CAPBSET_DROP, capability) {
                // The first number after the last capability.
                Err((_, libc::EINVAL)) if capability > 0 => break,
                dropped => dropped?,
            }
        }
        let (uid, gid) = (self.user.uid as usize, self.user.gid as usize);
        let groups = [
            self.user.groups.len(),
            self.user.groups.as_ptr() as usize,
            0,
            0,
            0,
            0,
        ];
        call(libc::SYS_setgroups, groups, Step::User)?;
        call(libc::SYS_setresgid, [gid, gid, gid, 0, 0, 0], Step::User)?;
        call(libc::SYS_setresuid, [uid, uid, uid, 0, 0, 0], Step::User)?;
        prctl(libc::PR_SET_DUMPABLE, 0)?;
        // No path may be resolved with more rights than the user has.
        let mask = if self.user.uid == 0 { self.of_root } else { 0 };
        let (header, sets) = ([VERSION_3, 0], [mask, mask, 0, 0, 0, 0]);
        let arguments = [header.as_ptr() as usize, sets.as_ptr() as usize, 0, 0, 0, 0];
        call(libc::SYS_capset, arguments, Step::Capabilities)
    }
}
