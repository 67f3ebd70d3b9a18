//! Handles children that have ended.

use super::{TURN, Vm};
use crate::control::{Control, ControlError};
use crate::family::background;
use crate::jobs::exit;
use crate::sys::{self, Waited};

impl Vm {
    /// Reaps ended children, a bounded number in a turn, and reports the ends of families' first processes to the host.
    pub(super) fn reap(&mut self, control: &mut Control) -> Result<(), ControlError> {
        // Signals are read before children are reaped: a child that ends in between leaves a signal for the next turn.
        while matches!(self.children.read_signal(), Ok(Some(_))) {}
        let mut orphans = false;
        self.more_ended = true;
        for _ in 0..TURN {
            let reaped = match sys::reap() {
                Waited::Ended(reaped) => reaped,
                Waited::Released => continue,
                Waited::None => {
                    self.more_ended = false;
                    break;
                }
            };
            if let Some(deputy) = self.backend.deputy_mut()
                && deputy.ended(reaped.pid)
            {
                self.replace_deputy(control)?;
                continue;
            }
            if !self.settle_start(control, reaped.pid)? {
                continue;
            }
            self.meter.add(reaped.usage);
            match self.families.led_by(reaped.pid) {
                None => orphans = true,
                Some(call) => {
                    let mut reaped = reaped;
                    reaped.oom = self
                        .families
                        .lacked_memory(call, &reaped)
                        .unwrap_or_else(|errno| {
                            // Its end and its status are known anyway.
                            sys::log(&errno);
                            false
                        });
                    let left = self
                        .families
                        .leader_ended(call, &self.table)
                        .unwrap_or_else(|errno| {
                            // Its end matters most; processes that are left can be killed anyway.
                            sys::log(&errno);
                            Vec::new()
                        });
                    if left.iter().any(|process| !process.has_executed) {
                        self.held_starts.report(call, control)?;
                        self.jobs.tell_end(call, reaped);
                    } else {
                        let exit = exit(&reaped, background(&left));
                        self.held_starts.report_end(call, exit, control)?;
                    }
                }
            }
        }
        self.jobs.nudge();
        if orphans {
            self.families.orphans_ended();
            if let Err(errno) = self.families.sweep() {
                sys::log(&errno);
            }
        }
        self.prepare();
        Ok(())
    }
}
