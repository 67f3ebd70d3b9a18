//! The map of a user namespace that only privileged programs may make.

use serde::{Deserialize, Serialize};

use super::Bytes;

/// Programs that map the ids of a process's user namespace, such as `newuidmap(1)`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapIds {
    /// The process, which has no ids yet.
    pub pid: i32,
    /// The programs, which are run one after the other.
    pub programs: Vec<MapProgram>,
}

/// A program that makes a map.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MapProgram {
    /// Its path.
    pub path: Bytes,
    /// The ranges: the first id in the namespace, the first one outside, and how many there are.
    pub ranges: Vec<(u32, u32, u32)>,
}
