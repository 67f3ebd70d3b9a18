//! Counts the bytes that a VM's processes received and wrote.

use std::sync::atomic::{AtomicU64, Ordering};

/// Bytes since the VM booted, of all its commands, processes and shells together.
#[derive(Debug, Default)]
pub(crate) struct IoCounters {
    input: AtomicU64,
    output: AtomicU64,
}

impl IoCounters {
    /// Adds bytes that the kernel accepted for a standard input or a terminal.
    pub fn add_input(&self, bytes: usize) {
        self.input.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Adds bytes that were read from a standard output, a standard error or a terminal.
    pub fn add_output(&self, bytes: usize) {
        self.output.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// The number of bytes received so far.
    pub fn input(&self) -> u64 {
        self.input.load(Ordering::Relaxed)
    }

    /// The number of bytes written so far.
    pub fn output(&self) -> u64 {
        self.output.load(Ordering::Relaxed)
    }
}
