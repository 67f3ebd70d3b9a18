//! Making one layer of several.

use serde::{Deserialize, Serialize};

use super::Attached;

/// Layers that are to become one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MergeLayers {
    /// The uid and gid to take, if the host is root.
    pub take_id: Option<u32>,
    /// Mounts from [`Reply::Layer`](super::Reply::Layer), the newest first. Nothing writes to them meanwhile.
    pub layers: Vec<Attached>,
    /// The room for the files of the new one, in bytes.
    pub bytes: u64,
    /// The room for their names and attributes: the number of files.
    pub files: u64,
}
