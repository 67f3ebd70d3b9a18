//! Why no VM was made.

use std::io;
use std::path::PathBuf;

use agent_vm_protocol::channel::{FrameError, ReceiveError};

use super::cgroup::CgroupError;
use super::directories::DirectoryError;
use super::host_files::HostFileError;
use super::ids::IdError;
use super::landlock::LandlockError;
use super::machine::BOOT_DEADLINE;
use super::sys::LaunchFailure;
use crate::error::Error;

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
    Launch(LaunchError),
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
    /// Init could not mount one of those.
    #[error("{path} cannot be mounted on")]
    Mount {
        /// Where it should be, inside.
        path: String,
        /// What the kernel answered.
        errno: i32,
    },
    /// Init could not make the sandbox.
    #[error("init could not {step}")]
    SetUp {
        /// The step.
        step: String,
        /// What the kernel answered.
        errno: i32,
    },
    /// Init went away or said something else.
    #[error("init died while it set the VM up")]
    Died(#[source] Option<ReceiveError>),
    /// Init did not finish.
    #[error("init did not finish within {} s", BOOT_DEADLINE.as_secs())]
    Deadline,
}

/// The step that failed before init ran.
#[derive(Debug)]
pub struct LaunchError {
    step: &'static str,
    errno: i32,
}

impl From<LaunchFailure> for BootError {
    fn from(failure: LaunchFailure) -> Self {
        Self::Launch(LaunchError {
            step: failure.step,
            errno: failure.errno,
        })
    }
}

impl From<BootError> for Error {
    fn from(error: BootError) -> Self {
        error.into_public()
    }
}

impl BootError {
    /// As users see it.
    pub(crate) fn into_public(self) -> Error {
        let cause = self.to_string();
        match &self {
            Self::PrivateDirectory(source) if source.raw_os_error() == Some(libc::EPERM) => Error::IsolationUnavailable {
                cause: format!("{cause}: {source}"),
                remedy: "Leave the container CAP_SETUID, CAP_SETGID and CAP_CHOWN, or run the server as an ordinary user".into(),
            },
            Self::PrivateDirectory(source) if !is_shortage(source.raw_os_error()) => Error::System {
                errno: source.raw_os_error().unwrap_or(libc::EIO),
                syscall: "mkdtemp".into(),
                path: Some(std::env::temp_dir().display().to_string()),
            },
            Self::Channel(source) | Self::PrivateDirectory(source) => Error::system(source, "boot"),
            Self::Image { source, path } => Error::System {
                errno: source.raw_os_error().unwrap_or(libc::EIO),
                syscall: "open".into(),
                path: Some(path.display().to_string()),
            },
            Self::Directory(error) => error.to_public(),
            Self::HostFile(error) => error.to_public(),
            Self::Landlock(error) => Error::IsolationUnavailable { cause, remedy: error.remedy() },
            Self::Mount { path, errno } => Error::System {
                errno: *errno,
                syscall: "mount".into(),
                path: Some(path.clone()),
            },
            // The server has run out of something; the host can isolate.
            Self::Launch(LaunchError { errno, .. }) | Self::SetUp { errno, .. } if is_shortage(Some(*errno)) => {
                Error::System { errno: *errno, syscall: "clone".into(), path: None }
            }
            Self::Launch(LaunchError { errno, .. }) | Self::SetUp { errno, .. } => {
                let name = nix::errno::Errno::from_raw(*errno);
                Error::IsolationUnavailable { cause: format!("{cause}: {name}"), remedy: crate::doctor::remedy(*errno) }
            }
            Self::Cgroup(CgroupError::Unavailable(unavailable)) => Error::IsolationUnavailable {
                cause,
                remedy: unavailable.remedy(),
            },
            Self::Cgroup(CgroupError::Step { source, .. })
            | Self::Ids(IdError::Maps(source) | IdError::Lock(source))
                if is_shortage(source.raw_os_error()) =>
            {
                Error::system(source, "open")
            }
            Self::Cgroup(CgroupError::Step { source, .. }) => Error::IsolationUnavailable {
                cause: format!("{cause}: {source}"),
                remedy: "AgentVm.doctor() tells what cgroups this host has".into(),
            },
            Self::Maps(source) => Error::IsolationUnavailable {
                cause: format!("{cause}: {source}"),
                remedy: "Leave the container CAP_SETUID and CAP_SETGID, or run the server as an ordinary user".into(),
            },
            Self::NoKill => Error::IsolationUnavailable {
                cause,
                remedy: "Leave the container CAP_KILL, or run the server as an ordinary user".into(),
            },
            Self::NoNetworkNamespace => Error::IsolationUnavailable {
                cause,
                remedy: "Choose that isolation, or another network".into(),
            },
            Self::Ids(error) => Error::IsolationUnavailable {
                cause: match error {
                    IdError::Maps(source) | IdError::Lock(source) => format!("{cause}: {source}"),
                    IdError::None | IdError::NoDirectory(_) => cause,
                },
                remedy: error.remedy().into(),
            },
            Self::Frame(_) | Self::Died(_) | Self::Deadline => {
                let detail = std::error::Error::source(&self).map(|source| format!(": {source}")).unwrap_or_default();
                Error::IsolationUnavailable {
                    cause: format!("{cause}{detail}"),
                    remedy: "Set AGENT_VM_LOG=debug to see how far init came".into(),
                }
            }
        }
    }
}

/// Whether the kernel's answer is that the server has run out of something, which may pass.
fn is_shortage(errno: Option<i32>) -> bool {
    matches!(
        errno,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN)
    )
}
