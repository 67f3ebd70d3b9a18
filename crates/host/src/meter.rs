//! What is kept of earlier readings of what a VM uses.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::boot::CgroupMeters;

/// What is kept of earlier readings of a VM.
#[derive(Debug)]
pub(crate) struct Meter {
    pub cgroups: CgroupMeters,
    /// Held during a reading, so that any number of calls uses one thread.
    pub reading: tokio::sync::Mutex<()>,
    pub cpu_us: AtomicU64,
    /// The processor time of the VMs whose place this one has taken.
    pub earlier_cpu_us: AtomicU64,
    pub peak_processes: AtomicU64,
    pub peak_memory_bytes: AtomicU64,
}

impl Meter {
    /// That of a new VM.
    pub fn new(cgroups: CgroupMeters) -> Self {
        Self {
            cgroups,
            reading: tokio::sync::Mutex::default(),
            cpu_us: AtomicU64::new(0),
            earlier_cpu_us: AtomicU64::new(0),
            peak_processes: AtomicU64::new(0),
            peak_memory_bytes: AtomicU64::new(0),
        }
    }
}

impl Meter {
    /// Counts on where a VM was whose place this one has taken.
    pub fn count_on(&self, cpu_ms: u64, peak_processes: u64, peak_memory_bytes: u64) {
        self.earlier_cpu_us
            .fetch_add(cpu_ms.saturating_mul(1000), Ordering::Relaxed);
        raise(&self.peak_processes, peak_processes);
        raise(&self.peak_memory_bytes, peak_memory_bytes);
    }
}

/// Raises the largest value so far to `value`; returns the largest.
pub fn raise(largest: &AtomicU64, value: u64) -> u64 {
    largest.fetch_max(value, Ordering::Relaxed).max(value)
}
