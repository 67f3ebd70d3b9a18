//! Bounds on how many calls of one VM may run at a time, for calls that use the server's resources.

use std::sync::Arc;

use tokio::sync::Semaphore;

use crate::guest_threads::GuestThreads;
use crate::open_archives::OpenArchives;
use crate::open_files::OpenFiles;
use crate::watch::Watches;

/// The maximum number of simultaneous listings of one VM, each of which may need a hundred descriptors. More listings
/// wait.
const LISTINGS: usize = 4;

/// The maximum number of simultaneous copies of one VM; each may need two hundred descriptors. More copies wait.
const COPIES: usize = 2;

/// The maximum number of trees that are copied between the host and one VM at a time; each may need four hundred descriptors. More
/// wait.
const TRANSFERS: usize = 2;

/// The maximum number of a VM's reads that use a share of the memory for reads or wait for one. More reads wait for
/// these, and do not queue before another VM's reads.
const READS: usize = 8;

/// The maximum number of a VM's reads that wait for a share at the same time. More reads wait for these, so that only a
/// few are ever in front of another VM's read.
const WAITING_READS: usize = 1;

/// The maximum number of connections of one VM that are being made; each uses a descriptor. Another one is refused.
pub const MAX_CONNECTING: usize = 1024;

/// The maximum number of a VM's calls that wait for something to happen in it. Another one is refused.
pub const MAX_WAITING: usize = 1024;

/// How many screens of one VM are being read at a time, until JavaScript has them: a large one takes the event loop some
/// 20 ms. More reads wait, and each read waits for a turn of the event loop.
const SCREENS: usize = 1;

/// The bounds of one VM. No semaphore is ever closed.
pub struct CallBounds {
    /// One permit for each listing.
    pub listings: Semaphore,
    /// One permit for each copy.
    pub copies: Semaphore,
    /// One permit for each tree that is copied between the host and the VM.
    pub transfers: Semaphore,
    /// One permit for each read of a file.
    pub reads: Semaphore,
    /// One permit for each read that waits for its share of memory.
    pub waiting_reads: Semaphore,
    /// Threads for work that may have to wait for a program.
    pub guest_threads: GuestThreads,
    /// One permit for each connection that is being made.
    pub connecting: Semaphore,
    /// The archives that are read or written.
    pub archives: OpenArchives,
    /// The files that streams have open.
    pub open_files: OpenFiles,
    /// The watches of files.
    pub watches: Watches,
    /// One permit for each screen that JavaScript does not have yet.
    pub screens: Arc<Semaphore>,
    /// One permit for each call that waits for something to happen.
    pub waiting: Semaphore,
}

impl CallBounds {
    /// The bounds of a new VM.
    pub fn new() -> Self {
        Self {
            listings: Semaphore::new(LISTINGS),
            copies: Semaphore::new(COPIES),
            transfers: Semaphore::new(TRANSFERS),
            reads: Semaphore::new(READS),
            waiting_reads: Semaphore::new(WAITING_READS),
            guest_threads: GuestThreads::new(),
            connecting: Semaphore::new(MAX_CONNECTING),
            archives: OpenArchives::default(),
            open_files: OpenFiles::default(),
            watches: Watches::default(),
            screens: Arc::new(Semaphore::new(SCREENS)),
            waiting: Semaphore::new(MAX_WAITING),
        }
    }
}
