//! What a transfer copies.

use super::exclude::Exclude;

/// The most that one transfer copies.
#[derive(Debug, Clone, Copy)]
pub struct TransferLimits {
    /// Bytes of all files together, holes included.
    pub bytes: u64,
    /// Files, directories and links.
    pub entries: u64,
}

/// A transfer between a directory of the host and one of the VM.
#[derive(Debug, Clone)]
pub struct TransferRequest {
    /// The directory on the host.
    pub host_path: String,
    /// The directory in the VM.
    pub path: String,
    /// What is left out.
    pub exclude: Exclude,
    /// The most that is copied.
    pub limits: TransferLimits,
}
