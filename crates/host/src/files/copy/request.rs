//! What is copied, and how.

/// What happens to a file that exists where a copy is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExistingCopy {
    /// It is replaced.
    Replace,
    /// It is kept, and nothing is copied there.
    Keep,
    /// EEXIST.
    Refuse,
}

/// A copy of a file or tree.
#[derive(Debug, Clone)]
pub struct CopyRequest {
    /// The file that is copied.
    pub from: String,
    /// The path of the copy.
    pub to: String,
    /// Whether a directory is copied, with everything below it.
    pub recursive: bool,
    /// What happens to files that exist.
    pub existing: ExistingCopy,
    /// Whether files get the times of their originals.
    pub preserve_timestamps: bool,
}
