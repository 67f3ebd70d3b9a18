//! Why a file of the host that was asked for cannot show.

/// Why what was asked for cannot show.
#[derive(Debug, thiserror::Error)]
pub enum HostFileError {
    /// It never does.
    #[error("{path} never shows")]
    Denied {
        /// The path.
        path: String,
    },
    /// Not there, or not for others to read.
    #[error("{path} cannot be read as others may: {}", source.desc())]
    Unreadable {
        /// The path.
        path: String,
        /// Why.
        source: nix::Error,
    },
}
