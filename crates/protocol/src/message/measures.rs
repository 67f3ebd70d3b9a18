//! What a VM has used, as init counts it.

use serde::{Deserialize, Serialize};

use super::Usage;

/// What a VM has used, as init counts it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Measures {
    /// The resources of all programs that init has reaped, including the children that they waited for. The kernel adds a
    /// process to its parent when the parent waits for it, and init waits for every process without a parent. A
    /// process that the kernel reaps itself, because its parent ignores SIGCHLD, is added to no process.
    pub ended: Usage,
    /// The processor time of init, and of what worked for it and has ended, in microseconds.
    pub own_us: u64,
    /// The most programs of the host's requests that have run at the same time.
    pub most_running: u64,
    /// The file system of the private files, if the VM has one.
    pub disk: Option<Disk>,
}

/// The room of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disk {
    /// Its size in bytes.
    pub bytes: u64,
    /// How many of them are free.
    pub free_bytes: u64,
    /// How many files, directories and links it can have.
    pub files: u64,
    /// How many more it can have.
    pub free_files: u64,
}
