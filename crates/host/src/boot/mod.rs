//! Making a VM: its namespaces, ids and cgroup, and init in them.
//!
//! [`boot`] takes about two milliseconds, or a tenth of one if a prebooted VM serves, all of it on the calling thread, which must
//! not be one that others wait for. What it returns owns the VM: dropping it kills everything inside and gives back what
//! the host lent.

mod accounts;
mod cgroup;
mod directories;
mod enforcement;
mod error;
mod exchange;
mod explain;
mod hardware;
mod hindrance;
mod holder;
mod host_files;
mod ids;
mod image;
mod init_process;
mod landlock;
mod launched;
mod machine;
mod options;
mod prebooted;
mod private_directory;
mod remedy;
mod root;
mod server_node;
mod sys;
mod user;
mod view;
mod zygote;

use launched::{Launched, Specification};
use prebooted::{Preboot, Prebooted};

pub use agent_vm_protocol::message::Isolation;
pub use cgroup::{Controller, Unavailable, Version, names_commands, serves};
pub use directories::{Lack, Shown, probe as probe_directories};
pub use enforcement::{Enforcement, Mechanism};
pub use error::BootError;
pub use hindrance::Hindrance;
pub use host_files::look_ahead;
pub use machine::{HostSide, Machine};
pub use options::{HostFiles, Mount, Network, Options, Resources};
pub use remedy::Remedy;
pub use server_node::ServerNode;
pub use user::is_root;

/// Makes a VM: takes the prebooted one if that was made for equal options. Returns when its sandbox stands and nothing has run in it yet.
pub fn boot(options: &Options) -> Result<Machine, BootError> {
    check(options)?;
    match prebooted::take(&Preboot::of(options)).filter(Prebooted::is_alive) {
        Some(Prebooted::Booted(machine)) => {
            machine.adopt(options)?;
            Ok(*machine)
        }
        Some(Prebooted::Launched(launched)) => Machine::boot(*launched, options),
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

/// Makes a prebooted VM for the next boot with such options.
pub fn prepare_next(options: &Options) {
    // At the other levels a boot has no part that takes long and does not depend on its options.
    if options.isolation == Isolation::Namespaces {
        prebooted::prepare(Preboot::of(options));
    }
}
