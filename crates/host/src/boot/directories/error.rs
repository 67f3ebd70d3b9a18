//! Why a host directory cannot be shown.

use std::io;
use std::path::PathBuf;

use super::rights::Lack;

/// Why a host directory cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// It does not exist, or the server may not open it.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The path as the caller gave it.
        path: PathBuf,
        /// The call that failed.
        syscall: &'static str,
        /// The error of that call.
        source: io::Error,
    },
    /// A link on the path of installed packages, which had none when it was checked.
    #[error("{} leads through a symbolic link", path.display())]
    Link {
        /// The path as the caller gave it.
        path: PathBuf,
    },
    /// A device, a FIFO or a socket.
    #[error("{} is neither a directory nor a regular file", path.display())]
    Kind {
        /// The path as the caller gave it.
        path: PathBuf,
    },
    /// The host's root, or a file system through which the kernel shows the host and takes settings.
    #[error("{} is the host itself", path.display())]
    Host {
        /// The path as the caller gave it.
        path: PathBuf,
    },
    /// The server may not show any host directory.
    #[error("{} cannot be shown: {lack}", path.display())]
    Right {
        /// The path as the caller gave it.
        path: PathBuf,
        /// What the server lacks.
        lack: Lack,
    },
    /// A root without the shell that runs commands.
    #[error("{} has no usable /bin/sh", path.display())]
    Shell {
        /// The path as the caller gave it.
        path: PathBuf,
        /// What is wrong with it.
        lack: &'static str,
    },
    /// The file system cannot map owners.
    #[error("the file system of {} cannot show its owner as the VM's user", path.display())]
    Owner {
        /// The path as the caller gave it.
        path: PathBuf,
        /// The kernel's error.
        source: io::Error,
    },
}
