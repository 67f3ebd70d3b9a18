//! Why a requested host file cannot be shown.

/// Why a requested host file cannot be shown.
#[derive(Debug, thiserror::Error)]
pub enum HostFileError {
    /// It is never shown.
    #[error("{path} never shows")]
    Denied {
        /// The path.
        path: String,
    },
    /// It does not exist, or others may not read it.
    #[error("{path} cannot be read as others may: {}", source.desc())]
    Unreadable {
        /// The path.
        path: String,
        /// The kernel's error.
        source: nix::Error,
    },
}
