//! The mechanisms that enforce a VM's limits.

use agent_vm_protocol::message::Isolation;

use super::cgroup::{Version, VmCgroups};
use super::options::Options;
use super::users::Ids;

/// What enforces a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mechanism {
    /// A controller of cgroup v1.
    Cgroup1,
    /// A controller of cgroup v2.
    Cgroup2,
    /// A resource limit of the kernel (`setrlimit(2)`).
    Rlimit,
    /// The size of a file system in memory.
    Tmpfs,
}

impl Mechanism {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Cgroup1 => "cgroup1",
            Self::Cgroup2 => "cgroup2",
            Self::Rlimit => "rlimit",
            Self::Tmpfs => "tmpfs",
        }
    }
}

impl From<Version> for Mechanism {
    fn from(version: Version) -> Self {
        match version {
            Version::One => Self::Cgroup1,
            Version::Two => Self::Cgroup2,
        }
    }
}

/// What enforces each limit, `None` if nothing does; and the ids of the VM's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Enforcement {
    /// The memory limit.
    pub memory: Option<Mechanism>,
    /// The limit on processor time.
    pub cpus: Option<Mechanism>,
    /// The limit on processes and threads.
    pub pids: Option<Mechanism>,
    /// The limit on open files.
    pub open_files: Option<Mechanism>,
    /// The limit on private files.
    pub disk: Option<Mechanism>,
    /// The ids of its root, if it has one.
    pub ids: Option<Ids>,
}

impl Enforcement {
    pub(super) fn of(options: &Options, cgroups: &VmCgroups, ids: Option<Ids>) -> Self {
        let isolation = options.isolation;
        let whole = isolation == Isolation::Namespaces;
        let counted = isolation != Isolation::None;
        Self {
            memory: cgroups.memory_by.map(Mechanism::from),
            cpus: cgroups.cpu_by.map(Mechanism::from),
            // Counted per user within the VM's user namespace. Without one, all processes of the VM's user count; if
            // the server is not root, these include the server's.
            pids: counted.then_some(Mechanism::Rlimit),
            open_files: Some(Mechanism::Rlimit),
            disk: (whole && options.disk.is_none()).then_some(Mechanism::Tmpfs),
            ids,
        }
    }
}
