//! What is done about children that have ended.

use super::{TURN, Vm};
use crate::control::{Control, ControlError};
use crate::family::{background, is_settled};
use crate::jobs::exit;
use crate::sys::{self, Child};

impl Vm {
    /// Reaps what has ended, as far as one turn goes, and tells the host of families' first processes.
    pub(super) fn reap(&mut self, control: &mut Control) -> Result<(), ControlError> {
        // First the signals, then the children: one that ends in between leaves a signal for the next time.
        while matches!(self.children.read_signal(), Ok(Some(_))) {}
        let mut orphans = false;
        self.more_ended = true;
        for _ in 0..TURN {
            let reaped = match sys::reap() {
                Child::Ended(reaped) => reaped,
                Child::Released => continue,
                Child::None => {
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
            match self.families.led_by(reaped.pid) {
                None => orphans = true,
                Some(call) => {
                    let mut reaped = reaped;
                    reaped.oom = self
                        .families
                        .lacked_memory(call, &reaped)
                        .unwrap_or_else(|errno| {
                            // That it ended, and how, is known all the same.
                            sys::log(&errno);
                            false
                        });
                    let left = self
                        .families
                        .leader_ended(call, &self.table)
                        .unwrap_or_else(|errno| {
                            // Its end is what matters; what is left of it can be killed all the same.
                            sys::log(&errno);
                            Vec::new()
                        });
                    if left.iter().any(|process| !is_settled(process, &self.table)) {
                        self.held_starts.report(call, control)?;
                        self.jobs.tell_end(call, reaped);
                    } else {
                        let exit = exit(&reaped, background(&left, &self.table));
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
