//! Init's user and rights: it is the VM's user from early on, and in the end has no right that the user lacks.

use std::os::fd::BorrowedFd;

use agent_vm_protocol::message::{BootStep, Limits};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use nix::unistd::{Gid, Uid, getgroups, setfsgid, setfsuid, setgroups, setresgid, setresuid};

use super::error::{At, BootError};
use super::{proc, sys};
use crate::sys::LOCKED_SECUREBITS;

/// Changes to the id that the host has mapped, and keeps the capabilities that the rest of the boot needs.
pub fn take(id: Option<u32>) -> Result<(), BootError> {
    let Some(id) = id else { return Ok(()) };
    // Without this bit, leaving uid 0 of the namespace would clear the capabilities.
    sys::set_securebits(libc::SECBIT_NO_SETUID_FIXUP).at(BootStep::KeepCapabilities)?;
    // The groups cannot be dropped in the namespace, so that was done before it was made.
    if !getgroups().at(BootStep::ReadGroups)?.is_empty() {
        return Err(BootError::of(BootStep::LeaveGroups, Errno::EPERM));
    }
    change(id)
}

/// Root's uid and gid, in a VM whose users are real.
pub const ROOT: (u32, u32) = (0, 0);

/// The id of `user`.
pub const USER: u32 = 1000;

/// From now on, files are made as the VM's user with that uid and gid. All capabilities stay.
pub fn use_files_as((uid, gid): (u32, u32)) -> Result<(), BootError> {
    // Without this bit, a change from root would clear the capabilities for files.
    sys::set_securebits(libc::SECBIT_NO_SETUID_FIXUP).at(BootStep::KeepCapabilities)?;
    let (uid, gid) = (Uid::from_raw(uid), Gid::from_raw(gid));
    setfsgid(gid);
    setfsuid(uid);
    // These calls return the id before, and no error. An invalid id changes nothing.
    if setfsgid(Gid::from_raw(u32::MAX)) != gid {
        return Err(Errno::EPERM).at(BootStep::TakeGroup);
    }
    if setfsuid(Uid::from_raw(u32::MAX)) != uid {
        return Err(Errno::EPERM).at(BootStep::TakeUser);
    }
    Ok(())
}

/// Leaves the groups that an ordinary user's server has, which programs do not have where users are real. Without a range of ids
/// that is not possible, and programs keep them.
pub fn leave_groups() -> Result<(), BootError> {
    setgroups(&[]).at(BootStep::LeaveGroups)
}

fn change(id: u32) -> Result<(), BootError> {
    let (uid, gid) = (Uid::from_raw(id), Gid::from_raw(id));
    setresgid(gid, gid, gid).at(BootStep::TakeGroup)?;
    setresuid(uid, uid, uid).at(BootStep::TakeUser)
}

/// The most that one VM gets of resources that the kernel counts by user: the kernel's usual limits, or less.
mod most {
    /// Queued signals, and timers.
    pub const SIGNALS: u64 = 4096;
    /// Bytes in POSIX message queues.
    pub const QUEUE_BYTES: u64 = 800 * 1024;
    /// Bytes of locked memory.
    pub const LOCKED_BYTES: u64 = 8 * 1024 * 1024;
    /// inotify instances.
    pub const INOTIFY_INSTANCES: u64 = 128;
    /// inotify watches.
    pub const INOTIFY_WATCHES: u64 = 65_536;
}

/// If all VMs have the server's user, one VM gets at most this fraction of the user's resources, so that others find
/// some left.
const SHARE: u64 = 4;

/// The same for processes.
const PROCESS_SHARE: u64 = 2;

/// Sets the limits that init shares with its children. The limit on open files is set in each child, because init holds
/// descriptors for all of them. `shared`: whether the VM's user is the server's.
pub fn limit(limits: &Limits, shared: bool) -> Result<(), BootError> {
    let bound = |resource: Resource, most: u64, share: u64| {
        let (soft, _) = getrlimit(resource)?;
        lower(resource, if shared { most.min(part(soft, share)) } else { most })
    };
    // Not 0, at which the kernel still runs, as the host's root, a handler that `core_pattern` names; 1 stops that too
    // (core(5)).
    lower(Resource::RLIMIT_CORE, 1).at(BootStep::ForbidCoreDumps)?;
    // Counted for each user in each user namespace, so these limit only this VM.
    bound(Resource::RLIMIT_NPROC, limits.pids, PROCESS_SHARE).at(BootStep::LimitProcesses)?;
    bound(Resource::RLIMIT_SIGPENDING, most::SIGNALS, SHARE).at(BootStep::LimitSignals)?;
    bound(Resource::RLIMIT_MSGQUEUE, most::QUEUE_BYTES, SHARE).at(BootStep::LimitMessageQueues)?;
    // Mostly counted for each process.
    lower(Resource::RLIMIT_MEMLOCK, most::LOCKED_BYTES).at(BootStep::LimitLockedMemory)
}

/// Sets the limits that rlimits do not cover, in this user namespace.
pub fn limit_namespace(proc_fd: BorrowedFd<'_>, shared: bool) -> Result<(), BootError> {
    // Programs cannot make user namespaces, and so cannot get the rights that one would give.
    proc::set(proc_fd, c"sys/user/max_user_namespaces", 0).at(BootStep::ForbidUserNamespaces)?;
    for (name, of_host, most) in [
        (
            c"sys/user/max_inotify_instances",
            c"sys/fs/inotify/max_user_instances",
            most::INOTIFY_INSTANCES,
        ),
        (
            c"sys/user/max_inotify_watches",
            c"sys/fs/inotify/max_user_watches",
            most::INOTIFY_WATCHES,
        ),
    ] {
        let set = || {
            let most = if shared {
                most.min(part(proc::get(proc_fd, of_host)?, SHARE))
            } else {
                most
            };
            proc::set(proc_fd, name, most)
        };
        match set() {
            // The kernel lacks inotify.
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno).at(BootStep::LimitInotify),
        }
    }
    Ok(())
}

fn part(whole: u64, share: u64) -> u64 {
    if whole == libc::RLIM_INFINITY {
        whole
    } else {
        (whole / share).max(1)
    }
}

/// Raises init's own limit on open files as far as possible.
pub fn raise_open_files() -> Result<(), BootError> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).at(BootStep::ReadOpenFiles)?;
    if soft == hard {
        return Ok(());
    }
    setrlimit(Resource::RLIMIT_NOFILE, hard, hard).at(BootStep::RaiseOpenFiles)
}

/// Sets both limits to `value`, or to the hard limit if that is lower: raising it needs rights in the initial
/// namespace.
fn lower(resource: Resource, value: u64) -> Result<(), Errno> {
    let (_, hard) = getrlimit(resource)?;
    let value = value.min(hard);
    setrlimit(resource, value, value)
}

/// Gives up every capability permanently, for init and for everything that it will start.
pub fn renounce() -> Result<(), BootError> {
    sys::clear_ambient().at(BootStep::ClearAmbient)?;
    sys::clear_bounding().at(BootStep::EmptyBounding)?;
    sys::set_securebits(LOCKED_SECUREBITS).at(BootStep::LockSecurebits)?;
    sys::clear_capabilities().at(BootStep::DropCapabilities)
}

/// Takes the given id, if any, and gives up every right permanently, in the host's own namespaces. There init may have
/// no capabilities from the start, and then may not lock them either; `no_new_privs` alone makes sure that no program
/// gains any (`capabilities(7)`).
pub fn step_down(id: Option<u32>) -> Result<(), BootError> {
    match sys::clear_bounding() {
        Ok(()) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).at(BootStep::EmptyBounding),
    }
    if let Some(id) = id {
        setgroups(&[]).at(BootStep::LeaveGroups)?;
        change(id)?;
    }
    sys::clear_ambient().at(BootStep::ClearAmbient)?;
    sys::clear_capabilities().at(BootStep::DropCapabilities)?;
    prctl::set_no_new_privs().at(BootStep::SetNoNewPrivs)
}
