//! Delays the replies to starts of short programs, to send them together with the programs' ends if these follow soon:
//! each message wakes the host, and most commands end before the host has anything to do.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Exit, Reply};
use libc::pid_t;

use crate::control::{Control, ControlError};
use crate::sys;

/// How long a reply is delayed at most, counted from the request. A program that fills its pipe earlier waits for the
/// rest of that time.
const HOLD: Duration = Duration::from_millis(1);

/// If a pipe, which has room for 64 KiB, contains this many bytes, the reply is sent at once.
const MUCH: usize = 16 * 1024;

/// How many replies are delayed at a time. Before another one is delayed, all are sent.
const HELD: usize = 64;

/// A running program.
#[derive(Debug)]
pub(super) struct Start {
    /// The number of the family's call.
    pub call: Call,
    /// Its pid.
    pub pid: pid_t,
    /// The host's ends of its standard descriptors.
    pub fds: Vec<OwnedFd>,
}

impl Start {
    /// Reports the start alone.
    pub fn report(self, control: &mut Control) -> Result<(), ControlError> {
        let (call, pid) = (self.call, self.pid as u32);
        control.send(&Reply::Spawned { call, pid }, self.fds)
    }

    /// Reports the start together with the end.
    fn report_with(self, exit: Exit, control: &mut Control) -> Result<(), ControlError> {
        let (call, pid) = (self.call, self.pid as u32);
        control.send(&Reply::Ran { call, pid, exit }, self.fds)
    }
}

/// The starts whose replies are delayed.
#[derive(Debug, Default)]
pub(super) struct HeldStarts {
    held: Vec<Start>,
    /// When the reply to the first one must be sent.
    due: Option<Instant>,
}

impl HeldStarts {
    /// Delays the reply to a start that began at that time, unless the program's pipes already contain much: a program
    /// that shares init's processor has run until it had to wait, possibly for the reader of its pipe.
    pub fn hold(&mut self, start: Start, begun: Instant, control: &mut Control) -> Result<(), ControlError> {
        if start.fds.iter().any(|fd| sys::available(fd.as_fd()) >= MUCH) {
            return start.report(control);
        }
        if self.held.len() >= HELD {
            self.report_all(control)?;
        }
        self.due.get_or_insert(begun + HOLD);
        self.held.push(start);
        Ok(())
    }

    /// When the replies must be sent, if there are any.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Reports all of them once the first one is due, so that the host wakes only once.
    pub fn report_due(&mut self, control: &mut Control) -> Result<(), ControlError> {
        match self.due {
            Some(due) if due <= Instant::now() => self.report_all(control),
            _ => Ok(()),
        }
    }

    /// Reports the start that belongs to `call`, if it is delayed.
    pub fn report(&mut self, call: Call, control: &mut Control) -> Result<(), ControlError> {
        self.take(call).map_or(Ok(()), |start| start.report(control))
    }

    /// Reports the end of a program, and its start if that is still delayed.
    pub fn report_end(&mut self, call: Call, exit: Exit, control: &mut Control) -> Result<(), ControlError> {
        match self.take(call) {
            Some(start) => start.report_with(exit, control),
            None => control.send(&Reply::Exited { call, exit }, Vec::new()),
        }
    }

    fn report_all(&mut self, control: &mut Control) -> Result<(), ControlError> {
        self.due = None;
        self.held.drain(..).try_for_each(|start| start.report(control))
    }

    fn take(&mut self, call: Call) -> Option<Start> {
        let at = self.held.iter().position(|start| start.call == call)?;
        let start = self.held.remove(at);
        if self.held.is_empty() {
            self.due = None;
        }
        Some(start)
    }
}
