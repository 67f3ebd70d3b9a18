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
    /// Whether it may have been exchanged, so that something has the name still: it has just got the name by a rename from where
    /// nothing is watched, which the kernel reports like an exchange with something there; or a listing has reported the name, and
    /// the directory may be watched since the middle of an exchange only.
    pub may_be_exchanged: bool,
    pub since: Instant,
}

impl HeldMove {
    pub fn deadline(&self) -> Instant {
        self.since + SECOND_HALF
    }
}
