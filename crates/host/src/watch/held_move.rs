//! The first half of a rename, whose second half has not been read yet.

use std::time::{Duration, Instant};

use super::tree::{Arrived, Place};
use super::watched::WatchId;

/// How long the second half of a rename may take: the kernel reports both in the same call, but this process may read between
/// them.
const SECOND_HALF: Duration = Duration::from_millis(5);

/// The first half of a rename.
#[derive(Debug)]
pub struct HeldMove {
    pub watch: WatchId,
    pub place: Place,
    pub name: Vec<u8>,
    pub cookie: u32,
    /// The rename by which the name had just been got. Then the two may be exchanged, which the kernel reports as a rename and
    /// another one back, and something is at the name still.
    pub arrived: Option<Arrived>,
    pub since: Instant,
}

impl HeldMove {
    pub fn deadline(&self) -> Instant {
        self.since + SECOND_HALF
    }
}
