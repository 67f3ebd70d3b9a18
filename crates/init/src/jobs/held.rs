//! A process that was killed and that its tracer keeps as a zombie.
//!
//! Any process can trace any other of the VM (`ptrace(2)`). The kernel reports the end of a traced process to its parent only once
//! the tracer has waited for it or has ended, so a tracer that does neither would hold up every timeout and kill for ever.

use std::time::{Duration, Instant};

use libc::pid_t;
use nix::errno::Errno;

use crate::process_table::ProcessTable;
use crate::signal;

/// How long a tracer has to wait for a process that was killed, as debuggers do at once, before it is killed as well.
const PATIENCE: Duration = Duration::from_millis(500);

/// Since when a tracer has been seen to keep a process that has ended.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Held {
    since: Option<Instant>,
}

impl Held {
    /// Returns whether no process of the VM traces `ended`, of which nothing lives and which is not reaped yet. Kills a tracer that
    /// has had its time.
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
