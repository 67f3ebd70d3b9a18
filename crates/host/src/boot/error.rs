//! Why no VM could be made.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use agent_vm_protocol::channel::{FrameError, ReceiveError};
use agent_vm_protocol::message::{BootStep, Unprotectable};

use super::cgroup::CgroupError;
use super::directories::DirectoryError;
use super::disk::DiskError;
use super::host_files::HostFileError;
use super::id_count::NotWithRange;
use super::ids::IdError;
use super::landlock::LandlockError;
use super::sys::LaunchError;
use super::users::UserError;

/// Why no VM could be made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The init program cannot be read.
    #[error("{} cannot be read", path.display())]
    Image {
        /// Its path.
        path: PathBuf,
        /// The error.
        source: io::Error,
    },
    /// The control socket could not be made or used.
    #[error("no control socket")]
    Channel(#[source] io::Error),
    /// A message could not be encoded for the control socket.
    #[error("the boot message was not sent")]
    Frame(#[from] FrameError),
    /// The network is possible only in a separate network namespace.
    #[error(
        "network \"public\" or with an allow list needs a network namespace of the VM's own, which isolation \"namespaces\" alone gives"
    )]
    NoNetworkNamespace,
    /// A root is possible only in a separate user namespace.
    #[error("a root needs a user namespace of the VM's own, which isolation \"namespaces\" alone gives")]
    NoUserNamespace,
    /// Layers are possible only in a root of the VM's own.
    #[error("a snapshot needs a root of the VM's own, which isolation \"namespaces\" alone gives")]
    NoLayers,
    /// The VM cannot have a range of ids.
    #[error(transparent)]
    NotWithRange(#[from] NotWithRange),
    /// The VM cannot have such a user or such ids.
    #[error(transparent)]
    User(#[from] UserError),
    /// The VM's cgroups could not be made.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// The server is root but has no id to give.
    #[error(transparent)]
    Ids(#[from] IdError),
    /// Init could not be started.
    #[error("the kernel refused to {}", .0.step)]
    Launch(#[from] LaunchError),
    /// The server could not end the VM.
    #[error("this process is root, and may not signal processes of other users")]
    NoKill,
    /// The VM's ids could not be taken.
    #[error("the kernel refused the VM's ids")]
    Maps(#[source] io::Error),
    /// The layers below the VM could not be given to it.
    #[error("the kernel refused to give the VM the layers below it")]
    Layers(#[source] io::Error),
    /// The directory for a VM without a root of its own could not be made.
    #[error("no directory for the VM's files")]
    PrivateDirectory(#[source] io::Error),
    /// The kernel has no Landlock, or a version that is too old.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// A host directory cannot be shown.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// The VM's disk cannot be used.
    #[error(transparent)]
    Disk(#[from] DiskError),
    /// A place in a mount cannot be protected.
    #[error("{} {why}", path.display())]
    Protect {
        /// The host path of the place.
        path: PathBuf,
        /// The reason.
        why: Unprotectable,
    },
    /// A requested host file cannot be shown.
    #[error(transparent)]
    HostFile(#[from] HostFileError),
    /// Init could not make the sandbox.
    #[error("init could not {step}")]
    SetUp {
        /// The step that failed.
        step: BootStep,
        /// The kernel's error.
        errno: i32,
    },
    /// Init ended, or sent an unexpected message.
    #[error("init died while it set the VM up")]
    Died(#[source] Option<ReceiveError>),
    /// Init did not finish within this time.
    #[error("init did not finish within {} s", .0.as_secs())]
    Deadline(Duration),
}
