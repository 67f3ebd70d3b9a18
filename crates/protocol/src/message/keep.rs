//! The places in host directories that a VM's programs must not change, and what is made of them on the host.

use serde::{Deserialize, Serialize};

use super::Attached;

/// Places that a keeper checks, and holds with placeholders where they do not exist.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Keep {
    /// The directories that contain them. Attached: the descriptor of the VM's init (`pidfd_open(2)`), and then the
    /// directories.
    pub directories: Vec<KeptDirectory>,
}

/// A host directory with protected places.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct KeptDirectory {
    /// The directory (`O_PATH`).
    pub directory: Attached,
    /// The uid and gid with whose rights placeholders are made, if the host is root.
    pub owner: Option<(u32, u32)>,
    /// The places.
    pub places: Vec<ProtectedPlace>,
}

/// A place in a directory, which exists or not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProtectedPlace {
    /// Its path below the directory: names without `.` and `..`, and single slashes between them.
    pub path: String,
    /// Whether it is a directory. If not, it is whatever exists, and otherwise a file.
    pub is_directory: bool,
}

/// A place in a mount that init makes read-only. It exists.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReadOnlyPlace {
    /// Its path below the mount, as in [`ProtectedPlace`].
    pub path: String,
    /// Whether it is a placeholder, which the VM does not show: it shows an empty file or directory of its own.
    pub is_placeholder: bool,
}

/// Why a place cannot be held.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
pub enum Unprotectable {
    /// It is a symbolic link, or leads through one.
    #[error("leads through a symbolic link")]
    Link,
    /// It, or something on its path, is not the directory that it must be.
    #[error("is no directory, or leads through something else than directories")]
    NotDirectory,
    /// It is a device, a FIFO or a socket.
    #[error("is a device, a FIFO or a socket")]
    Kind,
    /// A file has several names, and programs could write to it by another one.
    #[error("is or contains a file with several names (hard links)")]
    HardLinks,
    /// More files than are looked at for hard links.
    #[error("contains too many files to check")]
    TooMany,
    /// The kernel refused to make what must hold it.
    #[error("does not exist, and nothing can be made there to hold it")]
    Unmakeable {
        /// The kernel's error.
        errno: i32,
    },
    /// The kernel refused to look at it, or it changed all the time.
    #[error("cannot be looked at")]
    Unseen {
        /// The kernel's error.
        errno: i32,
    },
}
