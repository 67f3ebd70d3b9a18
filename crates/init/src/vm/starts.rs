//! Starts of brief programs, which are told together with their ends if these follow soon: each message wakes the host, and
//! most commands are over before it would have had anything to do.

use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Exit, Reply};
use libc::pid_t;

use crate::control::{Control, ControlError};
use crate::sys;

/// How long after it was asked for a start is held back at most. A program that fills its pipe sooner waits for the rest of it.
const HOLD: Duration = Duration::from_millis(1);

/// Bytes in a pipe, which has room for 64 KiB, that are read without delay.
const MUCH: usize = 16 * 1024;

/// How many are held back at a time. All are told before there is one more.
const HELD: usize = 64;

/// A program that runs.
#[derive(Debug)]
pub(super) struct Start {
    /// The family's number.
    pub call: Call,
    /// Its pid.
    pub pid: pid_t,
    /// The host's ends of its standard descriptors.
    pub fds: Vec<OwnedFd>,
}

impl Start {
    /// Tells of it by itself.
    pub fn tell(self, control: &mut Control) -> Result<(), ControlError> {
        let (call, pid) = (self.call, self.pid as u32);
        control.send(&Reply::Spawned { call, pid }, self.fds)
    }

    /// Tells of it together with its end.
    fn tell_with(self, exit: Exit, control: &mut Control) -> Result<(), ControlError> {
        let (call, pid) = (self.call, self.pid as u32);
        control.send(&Reply::Ran { call, pid, exit }, self.fds)
    }
}

/// Those that are held back.
#[derive(Debug, Default)]
pub(super) struct Starts {
    held: Vec<Start>,
    /// When the first of them is to be told at the latest.
    due: Option<Instant>,
}

impl Starts {
    /// Holds one back that was begun at that time, unless it has much to be read already: where it has init's processor, it ran
    /// until it waited for something, and that may be its reader.
    pub fn hold(&mut self, start: Start, begun: Instant, control: &mut Control) -> Result<(), ControlError> {
        if start.fds.iter().any(|fd| sys::available(fd.as_fd()) >= MUCH) {
            return start.tell(control);
        }
        if self.held.len() >= HELD {
            self.tell_all(control)?;
        }
        self.due.get_or_insert(begun + HOLD);
        self.held.push(start);
        Ok(())
    }

    /// When they are to be told, if there are any.
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Tells of all of them once the first is due, so that the host wakes once for many.
    pub fn tell_due(&mut self, control: &mut Control) -> Result<(), ControlError> {
        match self.due {
            Some(due) if due <= Instant::now() => self.tell_all(control),
            _ => Ok(()),
        }
    }

    /// Tells of the one that belongs to `call`, if it is held back.
    pub fn tell(&mut self, call: Call, control: &mut Control) -> Result<(), ControlError> {
        self.take(call).map_or(Ok(()), |start| start.tell(control))
    }

    /// Tells the end of a program, and its start if that is still held back.
    pub fn tell_end(&mut self, call: Call, exit: Exit, control: &mut Control) -> Result<(), ControlError> {
        match self.take(call) {
            Some(start) => start.tell_with(exit, control),
            None => control.send(&Reply::Exited { call, exit }, Vec::new()),
        }
    }

    fn tell_all(&mut self, control: &mut Control) -> Result<(), ControlError> {
        self.due = None;
        self.held.drain(..).try_for_each(|start| start.tell(control))
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
