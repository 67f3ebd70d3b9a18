//! The controllers that VMs use, in both versions.

/// What serves a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Version {
    /// cgroup v1.
    One,
    /// cgroup v2.
    Two,
}

/// What a controller bounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Controller {
    /// `limits.memoryBytes`.
    Memory,
    /// `limits.cpus`.
    Cpu,
}

impl Controller {
    /// The kernel's name.
    pub(super) fn name(self) -> &'static str {
        self.subsystem().name()
    }

    /// What it is in version 1.
    pub(super) fn subsystem(self) -> Subsystem {
        match self {
            Self::Memory => Subsystem::Memory,
            Self::Cpu => Subsystem::Cpu,
        }
    }

    /// The option that asks for it.
    pub(super) fn option(self) -> &'static str {
        match self {
            Self::Memory => "limits.memoryBytes",
            Self::Cpu => "limits.cpus",
        }
    }
}

/// A controller of version 1 that a VM has a directory of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Subsystem {
    /// Bounds memory.
    Memory,
    /// Bounds and shares processor time.
    Cpu,
    /// Counts processor time.
    Accounting,
    /// Assigns processors.
    Processors,
}

impl Subsystem {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Memory, Self::Cpu, Self::Accounting, Self::Processors];

    /// The kernel's name.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Cpu => "cpu",
            Self::Accounting => "cpuacct",
            Self::Processors => "cpuset",
        }
    }

    /// A file that says that it does what is asked of it here: the kernel may be built without.
    pub(super) fn file(self) -> &'static str {
        match self {
            Self::Memory => "memory.limit_in_bytes",
            Self::Cpu => "cpu.cfs_quota_us",
            Self::Accounting => "cpuacct.usage",
            Self::Processors => "cpuset.effective_cpus",
        }
    }

    /// Where a VM shows its directory, below `/sys`: where runtimes look that do not read where it is mounted.
    pub fn shown_at(self) -> &'static str {
        match self {
            Self::Memory => "fs/cgroup/memory",
            Self::Cpu => "fs/cgroup/cpu",
            Self::Accounting => "fs/cgroup/cpuacct",
            Self::Processors => "fs/cgroup/cpuset",
        }
    }
}
