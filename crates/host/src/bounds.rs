//! How many calls of one VM may be under way at a time, where each of them holds something of the server's.

use tokio::sync::Semaphore;

/// Listings of one VM at a time, each of which may need a hundred descriptors. Its others wait for these.
const LISTINGS: usize = 4;

/// Reads of one VM that wait for a share of the memory for reads or have one. Its others wait for these, and not before another
/// VM's.
const READS: usize = 8;

/// Reads of one VM that wait for a share at a time. Its others wait for these, so that a read that waits after them waits for few.
const WAITING_READS: usize = 1;

/// Connections of one VM that are being made at a time; each holds a descriptor. One more is refused.
pub const MAX_CONNECTING: usize = 1024;

/// One VM's bounds. No semaphore is ever closed.
pub struct Bounds {
    /// A permit is a listing of a directory.
    pub listings: Semaphore,
    /// A permit is a read of a file.
    pub reads: Semaphore,
    /// A permit is a read that waits for its share of memory.
    pub waiting_reads: Semaphore,
    /// A permit is a connection that is being made.
    pub connecting: Semaphore,
}

impl Bounds {
    /// Those of a new VM.
    pub fn new() -> Self {
        Self {
            listings: Semaphore::new(LISTINGS),
            reads: Semaphore::new(READS),
            waiting_reads: Semaphore::new(WAITING_READS),
            connecting: Semaphore::new(MAX_CONNECTING),
        }
    }
}
