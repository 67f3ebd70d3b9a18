//! Counts the bytes that a VM exchanges with destinations outside.

use std::sync::atomic::{AtomicU64, Ordering};

/// Counts the bytes of a VM's connections.
#[derive(Debug, Default)]
pub struct Traffic {
    sent: AtomicU64,
    received: AtomicU64,
}

/// The bytes so far, as the VM sees them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TrafficReading {
    /// Bytes to destinations.
    pub sent_bytes: u64,
    /// Bytes from destinations.
    pub received_bytes: u64,
}

impl Traffic {
    /// Adds bytes for a destination.
    pub fn add_sent(&self, bytes: usize) {
        self.sent.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds bytes from a destination.
    pub fn add_received(&self, bytes: usize) {
        self.received.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The bytes so far.
    pub fn read(&self) -> TrafficReading {
        TrafficReading {
            sent_bytes: self.sent.load(Ordering::Relaxed),
            received_bytes: self.received.load(Ordering::Relaxed),
        }
    }
}
