//! Why a disk cannot be used.

use std::io;
use std::path::PathBuf;

use super::super::directories::DirectoryError;

/// Why a disk cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// A VM has it, of this server or of another one.
    #[error("a VM has the disk {name:?} in {}", directory.display())]
    InUse {
        /// The directory of the disks.
        directory: PathBuf,
        /// Its name.
        name: String,
    },
    /// Others could change the disks.
    #[error("{} does not belong to the server's user alone", path.display())]
    Shared {
        /// The directory of the disks.
        path: PathBuf,
    },
    /// It was made for VMs of another kind.
    #[error("the disk {} was made with another {what}", path.display())]
    Other {
        /// Its directory.
        path: PathBuf,
        /// The option that differs.
        what: &'static str,
    },
    /// An ordinary user could not remove what other ids of a VM have made.
    #[error("ids \"range\" cannot be combined with a disk where the server is an ordinary user")]
    Range,
    /// The directory cannot be used.
    #[error("{} cannot be used for disks", path.display())]
    System {
        /// The path.
        path: PathBuf,
        /// The call that failed.
        syscall: &'static str,
        /// Its error.
        source: io::Error,
    },
    /// The directory cannot be given to the VM.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
}
