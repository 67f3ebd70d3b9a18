//! The controllers that VMs use, in both versions of cgroups.

/// The cgroup version that enforces a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// cgroup v1.
    One,
    /// cgroup v2.
    Two,
}

/// A controller that enforces a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// `limits.memoryBytes`.
    Memory,
    /// `limits.cpus`.
    Cpu,
}

impl Controller {
    /// The kernel's name of it.
    pub(super) fn name(self) -> &'static str {
        self.subsystem().name()
    }

    /// Its counterpart in version 1.
    pub(super) fn subsystem(self) -> Subsystem {
        match self {
            Self::Memory => Subsystem::Memory,
            Self::Cpu => Subsystem::Cpu,
        }
    }

    /// The option that sets its limit.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Memory => "limits.memoryBytes",
            Self::Cpu => "limits.cpus",
        }
    }
}

/// A controller of version 1 in which a VM may have a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsystem {
    /// Limits memory.
    Memory,
    /// Limits and shares processor time.
    Cpu,
    /// Counts processor time.
    Accounting,
    /// Assigns processors.
    Processors,
}

impl Subsystem {
    /// All of them, in a fixed order.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Cpu, Self::Accounting, Self::Processors];

    /// The kernel's name of it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Accounting => "cpuacct",
            Self::Processors => "cpuset",
        }
    }

    /// A file that exists only if the kernel was built with the feature that is used here.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Memory => "memory.limit_in_bytes",
            Self::Cpu => "cpu.cfs_quota_us",
            Self::Accounting => "cpuacct.usage",
            Self::Processors => "cpuset.effective_cpus",
        }
    }

    /// The path below `/sys` where a VM shows its directory: some runtimes look there without reading where it is
    /// mounted.
    pub fn shown_at(self) -> &'static str {
        match self {
            Self::Memory => "fs/cgroup/memory",
            Self::Cpu => "fs/cgroup/cpu",
            Self::Accounting => "fs/cgroup/cpuacct",
            Self::Processors => "fs/cgroup/cpuset",
        }
    }
}
