//! One keeper at a time makes or removes placeholders.
//!
//! To make or remove something in a directory takes the directory's mark away, until the keeper marks it again. Another
//! keeper that looked meanwhile would take a placeholder for a directory of the host, and leave it behind.

use std::fs::File;
use std::time::{Duration, Instant};

use nix::fcntl::{Flock, FlockArg};

/// What is locked: all servers of the machine, or of a container, can open it, and no program in a VM can.
const LOCKED: &str = "/proc/self/ns/pid";

/// How long to wait for other keepers. Another user of the host can hold the lock; without it an empty directory may
/// stay behind.
const PATIENCE: Duration = Duration::from_secs(1);

/// How long to wait before something is tried again for whose end no event is sent.
pub const PAUSE: Duration = Duration::from_millis(1);

/// This keeper's turn, until it is dropped.
pub struct Turn {
    _lock: Option<Flock<File>>,
}

impl Turn {
    /// Waits for this keeper's turn.
    pub fn take() -> Self {
        let deadline = Instant::now() + PATIENCE;
        let mut file = File::open(LOCKED).ok();
        while let Some(unlocked) = file.take() {
            match Flock::lock(unlocked, FlockArg::LockExclusiveNonblock) {
                Ok(lock) => return Self { _lock: Some(lock) },
                Err((unlocked, _)) if Instant::now() < deadline => {
                    std::thread::sleep(PAUSE);
                    file = Some(unlocked);
                }
                Err(_) => {}
            }
        }
        Self { _lock: None }
    }
}
