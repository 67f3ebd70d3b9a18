//! Why no VM was made.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agent_vm_protocol::channel::{FrameError, ReceiveError};
use agent_vm_protocol::message::BootStep;

use super::cgroup::CgroupError;
use super::directories::DirectoryError;
use super::host_files::HostFileError;
use super::ids::IdError;
use super::landlock::LandlockError;
use super::sys::LaunchError;

/// Why no VM was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The init program cannot be read.
    #[error("{} cannot be read", path.display())]
    Image {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The control socket.
    #[error("no control socket")]
    Channel(#[source] io::Error),
    /// The control socket, later.
    #[error("the boot message was not sent")]
    Frame(#[from] FrameError),
    /// A network that only a namespace of its own can give.
    #[error(
        "network \"public\" or with an allow list needs a network namespace of the VM's own, which isolation \"namespaces\" alone gives"
    )]
    NoNetworkNamespace,
    /// The VM's cgroups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Root without ids to give.
    #[error(transparent)]
    Ids(#[from] IdError),
    /// Init did not start.
    #[error("the kernel refused to {}", .0.step)]
    Launch(#[from] LaunchError),
    /// A VM that the server could not end.
    #[error("this process is root, and may not signal processes of other users")]
    NoKill,
    /// Taking the VM's ids.
    #[error("the kernel refused the VM's ids")]
    Maps(#[source] io::Error),
    /// A directory for a VM without a root.
    #[error("no directory for the VM's files")]
    PrivateDirectory(#[source] io::Error),
    /// The kernel has no Landlock, or too little of it.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// A host directory.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// What was asked for of the host's files.
    #[error(transparent)]
    HostFile(#[from] HostFileError),
    /// Init could not make the sandbox.
    #[error("init could not {step}")]
    SetUp {
        /// The step.
        step: BootStep,
        /// What the kernel answered.
        errno: i32,
    },
    /// Init went away or said something else.
    #[error("init died while it set the VM up")]
    Died(#[source] Option<ReceiveError>),
    /// Init did not finish.
    #[error("init did not finish within {} s", .0.as_secs())]
    Deadline(Duration),
}
