//! The boot request: a VM's options and what the host opened for it, described for init.

use std::mem;
use std::os::fd::OwnedFd;

use agent_vm_protocol::message::{
    Boot, Cgroups, Isolation, MemoryCount, Network as InitNetwork, ProgramUser, Request, ShownCgroup,
};

use super::cgroup::{CgroupDirectory, Version, VmCgroups};
use super::environment::environment;
use super::error::BootError;
use super::options::{Network, Options};
use super::user::USER_ID;
use super::users::{Ids, default_person, ids};
use super::view::View;
use super::zygote::Program;
use super::{directories, hardware};
use crate::proxy;

/// The request for a VM with these options. The entries of the root move into it from `view`, and the descriptors that
/// it names are added to `fds`. `id` is the host id of the VM's user if it is not the server's own, and `user` the one that
/// calls about files act as. A prebooted VM gets
/// its environment later.
pub fn boot_request(
    options: &Options,
    id: Option<u32>,
    user: ProgramUser,
    view: &mut View,
    cgroups: &VmCgroups,
    prebooted: bool,
    fds: &mut Vec<OwnedFd>,
) -> Result<Request, BootError> {
    let hardware = match options.isolation {
        Isolation::Namespaces => Some(hardware::take(&Program::of(options), fds)?),
        Isolation::Landlock | Isolation::None => None,
    };
    let env = if prebooted {
        None
    } else {
        let rootfs = view.rootfs.as_ref();
        let person = default_person(options, rootfs, &view.home)?;
        Some(environment(options, rootfs, &person))
    };
    Ok(Request::Boot(Box::new(Boot {
        isolation: options.isolation,
        hostname: options.hostname.clone(),
        network: match options.network {
            Network::None => InitNetwork::Own,
            Network::Allow(_) => InitNetwork::Served { port: proxy::PORT },
            Network::Host => InitNetwork::Host,
        },
        take_id: match options.isolation {
            Isolation::Namespaces => id.map(|_| USER_ID),
            Isolation::Landlock | Isolation::None => id,
        },
        env,
        rootfs: view.rootfs_source.take(),
        layers: mem::take(&mut view.layers),
        disk: view.disk.take(),
        landlock: view.landlock.take(),
        hardware,
        root: mem::take(&mut view.root),
        limits: options.limits.clone(),
        cgroups: share(cgroups, fds)?,
        inner_ids: ids(options).map(Ids::inner),
        user,
    })))
}

/// The VM's cgroups that init uses and shows.
fn share(cgroups: &VmCgroups, fds: &mut Vec<OwnedFd>) -> Result<Cgroups, BootError> {
    let mut attach = |directory: Option<CgroupDirectory<'_>>| {
        directory
            .map(|directory| directories::confined(directory.path, directory.fd, fds))
            .transpose()
            .map_err(BootError::Channel)
    };
    let families = attach(cgroups.families())?;
    let memory = match attach(cgroups.memory())? {
        Some(directory) => Some(MemoryCount::Directory(directory)),
        None => (cgroups.memory_by == Some(Version::Two)).then_some(MemoryCount::InFamilies),
    };
    let shown = cgroups.shown().into_iter().map(|(path, directory)| {
        Ok(ShownCgroup {
            path: path.to_owned(),
            source: directories::confined(directory.path, directory.fd, fds).map_err(BootError::Channel)?,
        })
    });
    Ok(Cgroups {
        families,
        memory,
        shown: shown.collect::<Result<_, BootError>>()?,
        family_settings: cgroups.family_settings(),
        memory_settings: cgroups.memory_settings(),
    })
}
