//! Pauses everything that runs in a VM.
//!
//! Init freezes the cgroups of all families, and starts no program until they run again. Init itself, and what works for it,
//! runs on, so everything that needs no program of the VM works. A SIGKILL ends frozen processes.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Failure, Request};

use crate::error::Error;
use crate::vm::Vm;

/// How long the processes of a VM may take until all are frozen. One that waits for a disk is frozen when that wait is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// How often init is asked whether all are.
const LOOK: Duration = Duration::from_millis(2);

impl Vm {
    /// Freezes everything that runs. If that cannot be done in [`PATIENCE`], everything runs again.
    pub async fn pause(&self) -> Result<(), Error> {
        let turn = self.take_turn(true);
        let deadline = Instant::now() + PATIENCE;
        loop {
            let error = match self.freeze(true).await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            // A later call has decided otherwise.
            if self.shared().pause_turn.load(Ordering::SeqCst) != turn {
                return Ok(());
            }
            if !is_not_yet(&error) || Instant::now() > deadline {
                self.take_turn(false);
                // What is wrong with the VM is the error of the freezing.
                drop(self.freeze(false).await);
                return Err(self.explained(error));
            }
            tokio::time::sleep(LOOK).await;
            if self.shared().pause_turn.load(Ordering::SeqCst) != turn {
                return Ok(());
            }
        }
    }

    /// Lets everything run again.
    pub async fn resume(&self) -> Result<(), Error> {
        if !self.shared().paused.load(Ordering::SeqCst) {
            // A VM that cannot be paused runs.
            return if self.shared().is_ending() {
                Err(Error::Disposed)
            } else {
                Ok(())
            };
        }
        self.take_turn(false);
        self.freeze(false).await
    }

    /// The error of a call that needs a program of the VM, while it is paused.
    pub(crate) fn require_running(&self) -> Result<(), Error> {
        if self.shared().paused.load(Ordering::SeqCst) {
            return Err(Error::Paused);
        }
        Ok(())
    }

    fn take_turn(&self, paused: bool) -> u64 {
        let shared = self.shared();
        shared.paused.store(paused, Ordering::SeqCst);
        shared.pause_turn.fetch_add(1, Ordering::SeqCst) + 1
    }

    async fn freeze(&self, frozen: bool) -> Result<(), Error> {
        self.ask(|call| Request::Freeze { call, frozen }, Vec::new())
            .await
            .map(drop)
    }

    fn explained(&self, error: Error) -> Error {
        if is_not_yet(&error) {
            return Error::System {
                errno: libc::ETIMEDOUT,
                syscall: Failure::FREEZE.into(),
                path: None,
            };
        }
        self.or_ended::<()>(Err(error)).err().unwrap_or(Error::Disposed)
    }
}

fn is_not_yet(error: &Error) -> bool {
    matches!(error, Error::System { errno: libc::EAGAIN, syscall, .. } if syscall == Failure::FREEZE)
}
