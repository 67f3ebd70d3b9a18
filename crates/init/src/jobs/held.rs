//! A killed process that its tracer keeps as a zombie.
//!
//! Any process can trace any other process of the VM (`ptrace(2)`). The kernel reports the end of a traced process to
//! its parent only after the tracer has waited for it or has ended. So a tracer that does neither would delay every
//! timeout and kill for ever.

use std::time::{Duration, Instant};

use libc::pid_t;
use nix::errno::Errno;

use crate::process_table::ProcessTable;
use crate::signal;

/// How long a tracer may take to wait for a killed process, which debuggers do at once, before the tracer is killed
/// too.
const PATIENCE: Duration = Duration::from_millis(500);

/// Since when a tracer has been keeping an ended process.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    since: Option<Instant>,
}

impl Held {
    /// Returns whether no process of the VM traces `ended`, a process that has ended but is not reaped yet. Kills a
    /// tracer whose time is over.
    pub(super) fn pass(&mut self, ended: pid_t, table: &ProcessTable, now: Instant) -> Result<bool, Errno> {
        let Some(tracer) = table.tracer(ended) else {
            return Ok(true);
        };
        if now >= *self.since.get_or_insert(now) + PATIENCE {
            signal::to_exactly(table, &tracer, libc::SIGKILL)?;
        }
        Ok(false)
    }
}
