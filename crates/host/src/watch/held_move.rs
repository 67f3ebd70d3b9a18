//! The first half of a rename, whose second half has not been read yet.

use std::time::{Duration, Instant};

use super::tree::Place;
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
    /// Whether it has just got this name by a rename from where nothing is watched. Either it is moved on, or it was exchanged with
    /// something there, which the kernel reports in the same way.
    pub is_exchange: bool,
    pub since: Instant,
}

impl HeldMove {
    pub fn deadline(&self) -> Instant {
        self.since + SECOND_HALF
    }
}
