//! How much a VM's processes have been given to read and have written.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes since the VM booted, over all its commands, processes and shells.
#[derive(Debug, Default)]
pub struct Traffic {
    given: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
    /// So many were accepted for standard inputs and terminals.
    pub(crate) fn give(&self, bytes: usize) {
        self.given.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// So many were read from standard outputs, errors and terminals.
    pub(crate) fn take(&self, bytes: usize) {
        self.written.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Bytes given to standard inputs and terminals, and bytes read from outputs.
    #[must_use]
    pub fn counts(&self) -> (u64, u64) {
        (
            self.given.load(Ordering::Relaxed),
            self.written.load(Ordering::Relaxed),
        )
    }
}
