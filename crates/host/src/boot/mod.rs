//! Makes a VM: its namespaces, ids and cgroups, and init in them.
//!
//! [`boot`] takes about two milliseconds, or a tenth of a millisecond with a prebooted VM, all of it on the calling
//! thread, which must not be one that others wait for. The result owns the VM: dropping it kills everything in the VM
//! and releases what the host lent.
//!
//! A boot is a ladder. Each step has a file, and its own variants of [`BootError`]:
//!
//! 1. `landlock` checks that the kernel can do what the level needs.
//! 2. `ids` leases an id for the VM's user, if the server is root.
//! 3. `cgroup` makes the VM's cgroups.
//! 4. `zygote` starts an init in new namespaces and in these cgroups, with its own control socket.
//! 5. `view` opens the files that the VM shows.
//! 6. `boot_request` describes all of it to init, which makes the sandbox. Init names the step that failed by a
//!    [`BootStep`](agent_vm_protocol::message::BootStep).
//! 7. `ready` receives what init sends.
//!
//! Steps 2 to 4 are `launched`, steps 5 to 7 `machine`; `prebooted` does as many of them in advance as it can. `remedy`
//! decides which public error an error becomes.

mod account;
mod accounts;
mod boot_request;
mod cgroup;
mod directories;
mod disk;
mod enforcement;
mod environment;
mod error;
mod etc;
mod exchange;
mod explain;
mod hardware;
mod hindrance;
mod holder;
mod host_files;
mod id_count;
mod ids;
mod image;
mod init_process;
mod keeper;
mod landlock;
mod launched;
mod layers;
mod machine;
mod merger;
mod options;
pub mod own_paths;
mod packages;
mod prebooted;
mod private_directory;
mod ready;
mod real_users;
mod remedy;
mod root;
mod server_node;
mod sys;
mod tables;
mod user;
mod users;
mod view;
mod vm_ids;
mod zygote;

use launched::{Launched, Specification};
use prebooted::{LIKE_THE_LAST, OVER_LAYERS, Preboot, Prebooted};

pub use agent_vm_protocol::message::{Isolation, ProtectedPlace};
pub use cgroup::{
    CgroupMeters, CgroupReading, Controller, CpuReading, MemoryReading, Unavailable, Version, names_commands,
    serves,
};
pub use directories::{Lack, ShowsOwners, probe as probe_directories};
pub use disk::DiskError;
pub use enforcement::{Enforcement, Mechanism};
pub use error::BootError;
pub use hindrance::Hindrance;
pub use host_files::look_ahead;
pub use launched::probe_block;
pub use machine::{HostSide, Machine};
pub use merger::merge;
pub use options::{DiskOptions, HostFiles, Mount, Network, Options, Resources, WantedIds};
pub use remedy::Remedy;
pub use server_node::ServerNode;
pub use user::GuestIds;
pub use user::is_root;
pub use users::{Ids, UserError, Users};

/// Makes a VM: takes the prebooted one if that was made for equal options. Returns when its sandbox is complete; no
/// program has run in it yet.
pub fn boot(options: &Options) -> Result<Machine, BootError> {
    check(options)?;
    let taken = LIKE_THE_LAST
        .take(&Preboot::of(options))
        .or_else(|| take_bare(options));
    match taken {
        Some(Prebooted::Booted(mut machine)) => {
            machine.adopt(options)?;
            Ok(*machine)
        }
        Some(Prebooted::Launched(launched)) => Machine::boot(*launched, options),
        None => boot_anew(options),
    }
}

fn take_bare(options: &Options) -> Option<Prebooted> {
    if options.layers.is_empty() {
        return None;
    }
    OVER_LAYERS.take(&Preboot::bare(options))
}

/// Makes a VM without a prebooted one.
pub fn boot_anew(options: &Options) -> Result<Machine, BootError> {
    check(options)?;
    Machine::boot(Launched::start(&Specification::of(options))?, options)
}

fn check(options: &Options) -> Result<(), BootError> {
    if options.isolation != Isolation::Namespaces && matches!(options.network, Network::Allow(_)) {
        return Err(BootError::NoNetworkNamespace);
    }
    if options.isolation == Isolation::Landlock {
        landlock::check()?;
    }
    if options.isolation != Isolation::Namespaces && !options.layers.is_empty() {
        return Err(BootError::NoLayers);
    }
    if options.isolation != Isolation::Namespaces && options.ids.is_some() {
        return Err(BootError::NoUserNamespace);
    }
    id_count::IdCount::check(options)?;
    // Otherwise the name is looked up when the VM's tables are known.
    if matches!(options.ids, None | Some(WantedIds::Single)) {
        users::default_person(options, None, own_paths::HOME)?;
    }
    Ok(())
}

/// Preboots a VM for the next boot with such options.
pub fn prepare_next(options: &Options) {
    // At the other levels, the long part of a boot depends on its options.
    if options.isolation == Isolation::Namespaces {
        LIKE_THE_LAST.prepare(Preboot::of(options));
    }
    if !options.layers.is_empty() {
        OVER_LAYERS.prepare(Preboot::bare(options));
    }
}
