//! What those share who follow the ports of one VM.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use tokio::sync::{Notify, watch};

use super::port::ListeningPort;
use crate::error::Error;

/// What is shared by all who follow the ports of one VM.
pub struct PortWatch {
    /// The last look. The task that looks runs while somebody receives it.
    pub last: watch::Sender<Option<Arc<Look>>>,
    /// The number of the last look that has begun.
    pub begun: AtomicU64,
    /// Makes the task look now.
    pub demand: Notify,
    /// Whether the task runs.
    pub running: Mutex<bool>,
    /// Changes each time that JavaScript begins or ceases to listen; odd while it listens.
    pub listening: AtomicU64,
}

/// One look.
pub struct Look {
    /// Its number: looks are counted as they begin.
    pub number: u64,
    /// What it has shown.
    pub ports: Result<Vec<ListeningPort>, Error>,
}

impl PortWatch {
    /// Of a new VM.
    pub fn new() -> Self {
        Self {
            last: watch::Sender::new(None),
            begun: AtomicU64::new(0),
            demand: Notify::new(),
            running: Mutex::new(false),
            listening: AtomicU64::new(0),
        }
    }

    /// Whether JavaScript listens to the events.
    pub fn is_listening(&self) -> bool {
        self.listening.load(Ordering::Relaxed) % 2 == 1
    }

    /// Whether anybody needs the task to look.
    pub fn is_wanted(&self) -> bool {
        self.is_listening() || self.last.receiver_count() > 0
    }
}
