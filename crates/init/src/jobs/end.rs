//! Reports the end of a family's first process, and which processes it left running.

use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Exit, KnownProcess, Reply};

use crate::family::{Families, background};
use crate::process_table::{Process, ProcessTable};
use crate::sys::Reaped;

/// How long the report is delayed until these processes have their names: immediately after `command &`, the command
/// is still a copy of the shell.
const SETTLE: Duration = Duration::from_millis(10);

/// How much longer it is delayed for a process that waits for a processor, which is not the command's fault.
const SETTLE_BUSY: Duration = Duration::from_millis(190);

/// An end that is reported after a short delay.
#[derive(Debug)]
pub(super) struct End {
    reaped: Reaped,
    left: Vec<Process>,
    until: Instant,
}

impl End {
    pub(super) fn of(reaped: Reaped) -> Self {
        Self {
            reaped,
            left: Vec::new(),
            until: Instant::now() + SETTLE,
        }
    }

    pub(super) fn pass(
        &mut self,
        call: Call,
        families: &Families,
        table: &ProcessTable,
        now: Instant,
    ) -> bool {
        // The end is reported even if it is unknown what was left running.
        self.left = families.left(call, self.reaped.pid, table).unwrap_or_default();
        let mut unsettled = self
            .left
            .iter()
            .filter(|process| !process.has_executed)
            .peekable();
        if unsettled.peek().is_none() || now >= self.until + SETTLE_BUSY {
            return true;
        }
        now >= self.until && !unsettled.any(Process::is_runnable)
    }

    pub(super) fn reply(&self, call: Call) -> Reply {
        Reply::Exited {
            call,
            exit: exit(&self.reaped, background(&self.left)),
        }
    }
}

/// Init's report to the host about the end of a family's first process.
pub fn exit(reaped: &Reaped, background: Vec<KnownProcess>) -> Exit {
    Exit {
        code: reaped.code,
        signal: reaped.signal,
        oom: reaped.oom,
        usage: reaped.usage,
        background,
    }
}
