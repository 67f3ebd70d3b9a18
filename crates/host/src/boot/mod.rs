//! Making a VM: its namespaces, ids and cgroup, and init in them.
//!
//! [`boot`] takes about two milliseconds, or a tenth of one if a spare serves, all of it on the calling thread, which must
//! not be one that others wait for. What it returns owns the VM: dropping it kills everything inside and gives back what
//! the host lent.

mod accounts;
mod cgroup;
mod directories;
mod enforcement;
mod error;
mod explain;
mod hardware;
mod holder;
mod host_files;
mod ids;
mod image;
mod landlock;
mod launched;
mod machine;
mod node;
mod options;
mod private_directory;
mod root;
mod spare;
mod sys;
mod view;
mod zygote;

use nix::unistd::Uid;

use launched::{Launched, Specification};
use spare::{Kind, Spare};

pub use agent_vm_protocol::message::Isolation;
pub use cgroup::{Controller, Unavailable, Version, names_commands, serves};
pub use directories::{Lack, Mount, Shown, probe as probe_directories};
pub use enforcement::{Enforcement, Mechanism};
pub use error::{BootError, LaunchError};
pub use host_files::{HostFiles, look_ahead};
pub use landlock::{LandlockError, check as check_landlock};
pub use machine::{HostSide, Machine};
pub use node::ServerNode;
pub use options::{Network, Options, Resources};

/// The VM user's uid and gid inside.
pub const USER_ID: u32 = 1000;

/// The VM user's home inside, in a VM with a root of its own.
pub const HOME: &str = "/home/user";

/// Makes a VM, of a spare if there is one that serves. Returns when its sandbox stands and nothing has run in it yet.
pub fn boot(options: &Options) -> Result<Machine, BootError> {
    check(options)?;
    match spare::take(&Kind::of(options)).filter(Spare::is_alive) {
        Some(Spare::Booted(machine)) => {
            machine.adopt(options)?;
            Ok(*machine)
        }
        Some(Spare::Launched(launched)) => Machine::boot(*launched, options),
        None => boot_anew(options),
    }
}

/// Makes a VM from the beginning.
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
    Ok(())
}

/// Makes a spare for the next VM of this kind.
pub fn prepare_next(options: &Options) {
    // Without walls there is nothing that takes time.
    if options.isolation == Isolation::Namespaces {
        spare::prepare(Kind::of(options));
    }
}

/// Whether this process gives each VM an id of its own.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}
