//! Why a directory of the host cannot be shown.

use std::io;
use std::path::PathBuf;

use super::rights::Lack;

/// Why a host directory cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum DirectoryError {
    /// Not there, or closed to the server.
    #[error("{} cannot be opened", path.display())]
    Open {
        /// The path as it was given.
        path: PathBuf,
        /// The call that failed.
        syscall: &'static str,
        /// Why.
        source: io::Error,
    },
    /// A link on the way to installed packages, which had none when they were looked at.
    #[error("{} leads through a symbolic link", path.display())]
    Link {
        /// The path as it was given.
        path: PathBuf,
    },
    /// A device, a FIFO or a socket.
    #[error("{} is neither a directory nor a regular file", path.display())]
    Kind {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The host's root, or files through which the kernel shows the host and takes settings.
    #[error("{} is the host itself", path.display())]
    Host {
        /// The path as it was given.
        path: PathBuf,
    },
    /// The server may show none of the host's.
    #[error("{} cannot be shown: {lack}", path.display())]
    Right {
        /// The path as it was given.
        path: PathBuf,
        /// What is missing.
        lack: Lack,
    },
    /// A root without the shell that commands run in.
    #[error("{} has no usable /bin/sh", path.display())]
    Shell {
        /// The path as it was given.
        path: PathBuf,
        /// What is wrong with it.
        lack: &'static str,
    },
    /// The file system cannot map owners.
    #[error("the file system of {} cannot show its owner as the VM's user", path.display())]
    Owner {
        /// The path as it was given.
        path: PathBuf,
        /// What the kernel answered.
        source: io::Error,
    },
}
