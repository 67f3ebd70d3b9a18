//! Makes further inits by copying this process. Copying a running process takes a fraction of the time that starting
//! the program takes, most of which the C library spends on detecting the processor's features.
//!
//! The first init of a server never becomes a VM. It is a zygote: for each VM it copies itself, into the VM's
//! namespaces and cgroup. The copy is a child of the server. It has nothing of the zygote except its memory, which
//! contains nothing of any VM, and waits for its boot request like any init.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{BootStep, Launch, OwnMap};
use agent_vm_vfork::sys::{Child, ChildOptions, copy};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::sys::prctl;
use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setfsuid, setgroups, setresgid, setresuid};

use crate::boot::BootError;
use crate::control::Attachments;
use crate::family::memory;
use crate::sys;

/// The process in which `launch` returns.
#[derive(Debug)]
pub enum Side {
    /// The zygote, with the copy that it made.
    Zygote(Child),
    /// The copy.
    Copy {
        /// The copy's control socket.
        socket: OwnedFd,
        /// The other descriptors of the request.
        attachments: Attachments,
    },
}

/// Why no copy was made.
#[derive(Debug)]
pub enum Unmade {
    /// The kernel's error when copying.
    Copy(Errno),
    /// This process may not take the VM's ids.
    Ids(Errno),
    /// This process could not get its own ids back, so it cannot be used any more.
    Lost(Errno),
}

/// Copies this process. The copy's parent is the server, which gets no SIGCHLD for it, as for the zygote.
pub fn launch(launch: &Launch, attachments: Attachments) -> Result<Side, Unmade> {
    match launch.own_map.filter(|_| launch.take_ids) {
        Some(map) => as_user(map, || copy_into(launch, attachments)),
        None => copy_into(launch, attachments).map_err(Unmade::Copy),
    }
}

/// Makes a copy with the uid and gid of `map` as effective ids only, and without groups. The process that makes a user
/// namespace owns it. Everything that the kernel counts by user in that namespace (inotify, signals, message queues,
/// processes) then counts for that owner outside, and not for root, whom all VMs would share.
fn as_user(map: OwnMap, copy: impl FnOnce() -> Result<Side, Errno>) -> Result<Side, Unmade> {
    let (uid, gid) = (geteuid(), getegid());
    let groups = getgroups().map_err(Unmade::Ids)?;
    // A process that may not drop its groups could not restore them either.
    setgroups(&[]).map_err(Unmade::Ids)?;
    let made = match become_user(map, uid) {
        Ok(()) => copy().map_err(Unmade::Copy),
        Err(errno) => Err(Unmade::Ids(errno)),
    };
    if let Ok(Side::Copy { .. }) = made {
        return made;
    }
    // The uid first: it brings back the capabilities for the rest.
    setresuid(KEEP_UID, uid, KEEP_UID)
        .and_then(|()| setresgid(KEEP_GID, gid, KEEP_GID))
        .and_then(|()| setgroups(&groups))
        .map_err(Unmade::Lost)?;
    made
}

const KEEP_UID: Uid = Uid::from_raw(u32::MAX);
const KEEP_GID: Gid = Gid::from_raw(u32::MAX);

fn become_user(map: OwnMap, before: Uid) -> Result<(), Errno> {
    setresgid(KEEP_GID, Gid::from_raw(map.gid), KEEP_GID)?;
    setresuid(KEEP_UID, Uid::from_raw(map.uid), KEEP_UID)?;
    // The change of ids has cleared them, and the host may allow user namespaces only for privileged processes.
    sys::raise_capabilities()?;
    // Files are still opened as the previous user: the cgroups, and the id maps, because the files in /proc of a process
    // that is not dumpable are owned by root.
    setfsuid(before);
    // The changes of ids do this, unless the host has set `fs.suid_dumpable` to 1.
    prctl::set_dumpable(false)
}

#[allow(unsafe_code)]
fn copy_into(launch: &Launch, mut attachments: Attachments) -> Result<Side, Errno> {
    let socket = attachments.take(0).ok_or(Errno::EMFILE)?;
    let cgroup_fd = if launch.cgroup {
        Some(attachments.take(1).ok_or(Errno::EMFILE)?)
    } else {
        None
    };
    let options = ChildOptions {
        namespaces: launch.namespaces,
        sibling: true,
        cgroup: cgroup_fd.as_ref().map(AsFd::as_fd),
        pidfd: true,
        ..ChildOptions::default()
    };
    // SAFETY: init has one thread.
    match unsafe { copy(&options) }.map_err(|error| sys::errno_of(&error))? {
        Some(child) => Ok(Side::Zygote(child)),
        None => Ok(Side::Copy { socket, attachments }),
    }
}

/// The steps that the copy does itself before it waits.
pub fn settle(launch: &Launch, attachments: &mut Attachments) -> Result<(), BootError> {
    if let Some(map) = launch.own_map.filter(|map| !map.is_part) {
        write_maps(map)?;
    }
    let mut next = 1 + u8::from(launch.cgroup);
    let mut join = |count: u8| {
        for index in next..next.saturating_add(count) {
            let tasks_fd = attachments
                .take(index)
                .ok_or_else(|| BootError::of(BootStep::TakeTasks, Errno::EBADF))?;
            memory::join(tasks_fd).map_err(|errno| BootError::of(BootStep::JoinCgroup, errno))?;
        }
        next = next.saturating_add(count);
        Ok(())
    };
    join(launch.joins)?;
    if launch.own_map.is_some() {
        unshare(CloneFlags::CLONE_NEWCGROUP)
            .map_err(|errno| BootError::of(BootStep::TakeCgroupNamespace, errno))?;
    }
    join(launch.joins_after)
}

fn write_maps(OwnMap { inside, uid, gid, .. }: OwnMap) -> Result<(), BootError> {
    let write = |name: &str, text: &str| {
        fs::write(format!("/proc/self/{name}"), text)
            .map_err(|error| BootError::new(BootStep::MapIds, &error))
    };
    // Without this, the kernel lets only privileged processes write a gid_map (user_namespaces(7)).
    write("setgroups", "deny")?;
    write("gid_map", &format!("{inside} {gid} 1\n"))?;
    write("uid_map", &format!("{inside} {uid} 1\n"))
}
