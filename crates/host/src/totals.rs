//! How much a transfer has copied.

/// What a transfer has copied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// Files.
    pub files: u64,
    /// Directories, except for the top.
    pub directories: u64,
    /// Symbolic links.
    pub links: u64,
    /// Bytes of files, holes included.
    pub bytes: u64,
    /// Devices, sockets and FIFOs, which are not copied.
    pub skipped: u64,
}
