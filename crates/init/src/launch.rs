//! Making more of init: a process that has started already is copied in a fraction of the time that its program takes to
//! start, most of which the C library spends on learning what the processor can do.
//!
//! The first init of a server never becomes a VM. It is a zygote: for each VM it copies itself, into the namespaces and the
//! cgroup that the VM is to have. The copy is the server's child, holds nothing of the zygote's but its memory, in which
//! there is nothing of any VM, and waits for its boot request as any init does.

use std::fs;
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{Launch, OwnMap};
use agent_vm_vfork::sys::{Child, Options, copy};
use nix::errno::Errno;
use nix::sched::{CloneFlags, unshare};
use nix::unistd::{Gid, Uid, getegid, geteuid, getgroups, setfsuid, setgroups, setresgid, setresuid};

use crate::boot::BootError;
use crate::control::Attachments;
use crate::family::memory;
use crate::sys;

/// Which of the two this process is.
#[derive(Debug)]
pub enum Side {
    /// The one that was asked, and what it started.
    Zygote(Child),
    /// The copy.
    Copy {
        /// Its own control socket.
        socket: OwnedFd,
        /// The rest of what came with the request.
        attachments: Attachments,
    },
}

/// Why there is no copy.
#[derive(Debug)]
pub enum Unmade {
    /// The kernel made none.
    Copy(Errno),
    /// This process may not take the VM's ids.
    Ids(Errno),
    /// Nor is it any more who it was, and so of no more use.
    Lost(Errno),
}

/// Copies this process. The copy's parent is the server, which gets no SIGCHLD for it, as for the zygote.
pub fn launch(launch: &Launch, attachments: Attachments) -> Result<Side, Unmade> {
    match launch.own_map.filter(|_| launch.take_ids) {
        Some(map) => as_user(map, || copy_into(launch, attachments)),
        None => copy_into(launch, attachments).map_err(Unmade::Copy),
    }
}

/// Makes a copy with the uid and gid of `map`, as the effective ones only, and with no groups. Who makes a user namespace owns it,
/// and all that the kernel counts by user in it (inotify, signals, message queues, processes) counts for its owner outside, and
/// not for root, whom all VMs would share.
fn as_user(map: OwnMap, copy: impl FnOnce() -> Result<Side, Errno>) -> Result<Side, Unmade> {
    let (uid, gid) = (geteuid(), getegid());
    let groups = getgroups().map_err(Unmade::Ids)?;
    // Who may not do this may not undo it either.
    setgroups(&[]).map_err(Unmade::Ids)?;
    let made = match become_user(map, uid) {
        Ok(()) => copy().map_err(Unmade::Copy),
        Err(errno) => Err(Unmade::Ids(errno)),
    };
    if let Ok(Side::Copy { .. }) = made {
        return made;
    }
    // The uid first: with it come the capabilities for the rest.
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
    // That has cleared them. The host may let none but the privileged make user namespaces.
    sys::raise_capabilities()?;
    // Files are still opened as the previous user: cgroups, and the maps, since a process that has changed its ids has its files in
    // /proc owned by root.
    setfsuid(before);
    Ok(())
}

#[allow(unsafe_code)]
fn copy_into(launch: &Launch, mut attachments: Attachments) -> Result<Side, Errno> {
    let socket = attachments.take(0).ok_or(Errno::EMFILE)?;
    let cgroup_fd = if launch.cgroup {
        Some(attachments.take(1).ok_or(Errno::EMFILE)?)
    } else {
        None
    };
    let options = Options {
        namespaces: launch.namespaces,
        sibling: true,
        cgroup: cgroup_fd.as_ref().map(AsFd::as_fd),
        pidfd: true,
        ..Options::default()
    };
    // SAFETY: init has one thread.
    match unsafe { copy(&options) }
        .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))?
    {
        Some(child) => Ok(Side::Zygote(child)),
        None => Ok(Side::Copy { socket, attachments }),
    }
}

/// What the copy does for itself before it waits.
pub fn settle(launch: &Launch, attachments: &mut Attachments) -> Result<(), BootError> {
    if let Some(map) = launch.own_map {
        write_maps(map)?;
    }
    let mut next = 1 + u8::from(launch.cgroup);
    let mut join = |count: u8| {
        for index in next..next.saturating_add(count) {
            let tasks_fd = attachments
                .take(index)
                .ok_or_else(|| BootError::of("take a cgroup's tasks", Errno::EBADF))?;
            memory::join(tasks_fd).map_err(|errno| BootError::of("join a cgroup", errno))?;
        }
        next = next.saturating_add(count);
        Ok(())
    };
    join(launch.joins)?;
    if launch.own_map.is_some() {
        unshare(CloneFlags::CLONE_NEWCGROUP)
            .map_err(|errno| BootError::of("take a cgroup namespace", errno))?;
    }
    join(launch.joins_after)
}

fn write_maps(OwnMap { inside, uid, gid }: OwnMap) -> Result<(), BootError> {
    let write = |name: &str, text: &str| {
        fs::write(format!("/proc/self/{name}"), text)
            .map_err(|error| BootError::new("map the VM's ids", &error))
    };
    // Without this the kernel lets none but the privileged write a gid_map (user_namespaces(7)).
    write("setgroups", "deny")?;
    write("gid_map", &format!("{inside} {gid} 1\n"))?;
    write("uid_map", &format!("{inside} {uid} 1\n"))
}
