//! An init that runs in its own namespaces and with its own ids, and waits for its boot request.

use std::os::fd::AsFd;

use agent_vm_protocol::channel::Channel;
use agent_vm_protocol::message::{Isolation, Launch, Reply};

use super::cgroup::VmCgroups;
use super::error::BootError;
use super::exchange::{await_reply, unasked};
use super::id_count::IdCount;
use super::ids::IdError;
use super::init_process::InitProcess;
use super::options::{Network, Options, Resources};
use super::vm_ids::VmIds;
use super::zygote::{self, Program};

/// How an init is started. An init that was started by an equal specification can be used in place of a new one.
#[derive(Debug, Clone, PartialEq)]
pub struct Specification {
    program: Program,
    /// `CLONE_NEW*` flags; 0 for a VM in the host's namespaces.
    pub namespaces: libc::c_int,
    /// Whether its user is an unused id on the host, if the server is root.
    pub own_id: bool,
    /// How many ids it has in its user namespace.
    pub ids: IdCount,
    /// The limits of its cgroups.
    pub resources: Resources,
}

/// The namespaces of every VM at the level "namespaces"; a network namespace is added if it has its own network.
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;

impl Specification {
    /// The specification for `options` and the current user of this process.
    pub fn of(options: &Options) -> Self {
        let namespaces = match (options.isolation, &options.network) {
            (Isolation::Landlock | Isolation::None, _) => 0,
            (Isolation::Namespaces, Network::Host) => NAMESPACES,
            (Isolation::Namespaces, Network::None | Network::Allow(_)) => NAMESPACES | libc::CLONE_NEWNET,
        };
        Self {
            program: Program::of(options),
            namespaces,
            own_id: options.isolation != Isolation::None,
            ids: IdCount::of(options),
            resources: options.resources.clone(),
        }
    }
}

impl Specification {
    /// The specification for a process that holds files for VMs with these options: it needs its own mounts.
    pub fn of_holder(options: &Options) -> Self {
        Self {
            namespaces: libc::CLONE_NEWUSER | libc::CLONE_NEWNS,
            ids: IdCount::One,
            resources: Resources::default(),
            ..Self::of(options)
        }
    }

    /// The specification for a process that merges layers of VMs with these options, which have many ids or one.
    pub fn of_merger(options: &Options, are_many: bool) -> Self {
        Self {
            ids: if are_many { IdCount::Block } else { IdCount::One },
            ..Self::of_holder(options)
        }
    }

    /// The specification for a process that has as many ids as it can, for which namespaces beside its user namespace do
    /// not matter.
    fn of_block(options: &Options) -> Self {
        Self {
            namespaces: libc::CLONE_NEWUSER,
            own_id: true,
            ids: IdCount::Block,
            resources: Resources::default(),
            ..Self::of(options)
        }
    }

    /// Starts one without a cgroup.
    pub fn launch_alone(&self) -> Result<(InitProcess, Channel, VmIds), BootError> {
        let ids = self.take_ids()?;
        let launch = Launch {
            namespaces: self.namespaces,
            cgroup: false,
            joins: 0,
            joins_after: 0,
            reports: false,
            own_map: Some(ids.own_map(self.program.user)),
            take_ids: ids.of_user().is_some(),
        };
        let (process, channel) = zygote::launch(&self.program, &launch, &[])?;
        ids.map(&self.program, process.pid)?;
        Ok((process, channel, ids))
    }

    fn take_ids(&self) -> Result<VmIds, IdError> {
        if self.own_id {
            VmIds::take(self.program.user, self.ids)
        } else {
            Ok(VmIds::Own)
        }
    }
}

/// Gives 65,536 ids to a process, and takes them back.
pub fn probe_block(options: &Options) -> Result<(), BootError> {
    Specification::of_block(options).launch_alone().map(drop)
}

/// An init that waits for its boot request. Dropping it kills it and releases everything that it holds.
#[derive(Debug)]
pub struct Launched {
    /// The control socket.
    pub channel: Channel,
    // Dropped in this order: first the process, then what it held.
    /// The process.
    pub init: InitProcess,
    /// Its cgroups.
    pub cgroups: VmCgroups,
    /// Its ids on the host.
    pub ids: VmIds,
}

impl Launched {
    /// Starts an init. Takes about a millisecond, half of which the kernel needs for the namespaces.
    pub fn start(specification: &Specification) -> Result<Self, BootError> {
        match Self::try_start(specification) {
            Err(error @ (BootError::Ids(_) | BootError::Maps(_))) if specification.ids == IdCount::Best => {
                tracing::debug!(%error, "a VM gets a single id");
                Self::try_start(&Specification {
                    ids: IdCount::One,
                    ..specification.clone()
                })
            }
            started => started,
        }
    }

    fn try_start(specification: &Specification) -> Result<Self, BootError> {
        let has_namespaces = specification.namespaces != 0;
        let ids = specification.take_ids()?;
        let own_map = ids.own_map(specification.program.user);
        let owner = own_map.uid;
        let cgroups = VmCgroups::make(owner, &specification.resources, has_namespaces)?;
        let (joins, joins_after) = (cgroups.joins()?, cgroups.joins_after()?);
        let launch = Launch {
            namespaces: specification.namespaces,
            cgroup: cgroups.start_fd().is_some(),
            joins: joins.len() as u8,
            joins_after: joins_after.len() as u8,
            reports: cgroups.moves_init(),
            own_map: has_namespaces.then_some(own_map),
            take_ids: has_namespaces && ids.of_user().is_some(),
        };
        let cgroup_fds = cgroups
            .start_fd()
            .into_iter()
            .chain(joins.iter().chain(&joins_after).map(AsFd::as_fd));
        let (init, channel) =
            zygote::launch(&specification.program, &launch, &cgroup_fds.collect::<Vec<_>>())?;
        if has_namespaces {
            ids.map(&specification.program, init.pid)?;
        }
        if launch.reports {
            // Only now: its cgroup namespace begins in the cgroup where it is when it takes the namespace.
            let (Reply::Settled, _) = await_reply(&channel)? else {
                return Err(unasked());
            };
        }
        cgroups.confine(init.pid, owner)?;
        Ok(Self {
            channel,
            init,
            cgroups,
            ids,
        })
    }
}
