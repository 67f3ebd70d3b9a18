//! Why a VM could not get its cgroups.

use std::io;

use super::controller::Controller;

/// Why a VM could not get its cgroups.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum CgroupError {
    /// A limit that cannot be enforced on this host.
    #[error(transparent)]
    Unavailable(#[from] Unavailable),
    /// The kernel refused a step.
    #[error("could not {step}")]
    Step {
        /// The step.
        step: CgroupStep,
        /// The kernel's error.
        source: io::Error,
    },
}

/// A limit that cannot be enforced on this host.
#[derive(Debug, thiserror::Error)]
#[error("{} cannot be enforced: {cause}", controller.option())]
pub struct Unavailable {
    pub(super) controller: Controller,
    pub(super) cause: String,
}

/// The steps of making a VM's cgroups.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs, reason = "each says itself what it is")]
pub enum CgroupStep {
    #[error("look for the server's cgroups")]
    Find,
    #[error("make a cgroup for the VM")]
    Make,
    #[error("hand the VM's cgroup over")]
    Give,
    #[error("make a cgroup for init")]
    MakeInit,
    #[error("hand init's cgroup over")]
    GiveInit,
    #[error("make a cgroup for the VM's programs")]
    MakePrograms,
    #[error("make a memory cgroup for the VM")]
    MakeMemory,
    #[error("hand the VM's memory cgroup over")]
    GiveMemory,
    #[error("make a cpu cgroup for the VM")]
    MakeCpu,
    #[error("make a cgroup to show")]
    MakeShown,
    #[error("make a cpuset for the server's VMs")]
    MakeProcessors,
    #[error("open the VM's cgroup")]
    Open,
    #[error("share the server's cgroup")]
    Share,
    #[error("move init into its cgroup")]
    MoveInit,
    #[error("enable the VM's controllers")]
    Enable,
    #[error("limit the VM's memory")]
    LimitMemory,
    #[error("limit the VM's swap")]
    LimitSwap,
    #[error("let the VM outlive a lack of memory")]
    OutliveOom,
    #[error("count what is killed for want of memory")]
    CountOom,
    #[error("limit the VM's processor time")]
    LimitCpu,
    #[error("show the limit to each command")]
    ShowLimit,
}

/// Attaches the step to a system call's error.
pub(super) trait AtCgroupStep<T> {
    fn at(self, step: CgroupStep) -> Result<T, CgroupError>;
}

impl<T> AtCgroupStep<T> for io::Result<T> {
    fn at(self, step: CgroupStep) -> Result<T, CgroupError> {
        self.map_err(|source| CgroupError::Step { step, source })
    }
}
