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

use crate::boot::BootError;
use crate::control::Attachments;

/// Which of the two this process is.
#[derive(Debug)]
pub enum Side {
    /// The one that was asked, and what it started.
    Zygote(Child),
    /// The copy, with its own control socket.
    Copy(OwnedFd),
}

/// Copies this process. The copy's parent is the server, which is told nothing of its end, as of the zygote's.
#[allow(unsafe_code)]
pub fn launch(launch: &Launch, mut attachments: Attachments) -> Result<Side, Errno> {
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
        None => Ok(Side::Copy(socket)),
    }
}

/// What the copy does for itself before it waits.
pub fn settle(launch: &Launch) -> Result<(), BootError> {
    if let Some(map) = launch.own_map {
        write_maps(map)?;
    }
    if launch.cgroup_namespace {
        unshare(CloneFlags::CLONE_NEWCGROUP)
            .map_err(|errno| BootError::of("take a cgroup namespace", errno))?;
    }
    Ok(())
}

fn write_maps(OwnMap { inside, uid, gid }: OwnMap) -> Result<(), BootError> {
    let write = |name: &str, text: &str| {
        fs::write(format!("/proc/self/{name}"), text)
            .map_err(|error| BootError::new("map the VM's ids", &error))
    };
    // Without this the kernel lets no ordinary user write a gid_map (user_namespaces(7)).
    write("setgroups", "deny")?;
    write("gid_map", &format!("{inside} {gid} 1\n"))?;
    write("uid_map", &format!("{inside} {uid} 1\n"))
}
