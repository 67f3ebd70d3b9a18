//! Pauses everything that runs in a VM.
//!
//! Init freezes the cgroups of all families, and starts no program until they run again. Init itself, and what works for it,
//! runs on, so everything that needs no program of the VM works. A SIGKILL ends frozen processes.

use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Failure, Request};

use crate::error::Error;
use crate::pausing::{Turns, Wish};
use crate::vm::Vm;

/// How long the processes of a VM may take until all are frozen. One that waits for a disk is frozen when that wait is over.
const PATIENCE: Duration = Duration::from_secs(5);

/// The pause before init is asked again whether all are. Each is twice as long as the one before, up to [`LONGEST_LOOK`].
const FIRST_LOOK: Duration = Duration::from_millis(2);
const LONGEST_LOOK: Duration = Duration::from_millis(100);

impl Vm {
    /// Freezes everything that runs. If that cannot be done in [`PATIENCE`], everything runs again, unless a later call has
    /// decided otherwise.
    pub async fn pause(&self) -> Result<(), Error> {
        let turn = self.turns(|turns| turns.take(Wish::Freeze));
        let deadline = Instant::now() + PATIENCE;
        let mut look = FIRST_LOOK;
        loop {
            let error = match self.try_to_freeze().await {
                Ok(()) => return Ok(()),
                Err(error) => error,
            };
            if !is_not_yet(&error) || Instant::now() > deadline {
                let error = self.explained(error);
                if let Some(turn) = self.turns(|turns| turns.take_after_failure(turn, &error)) {
                    // What is wrong with the VM is the error of the freezing. If this fails too, resume() tries again.
                    drop(self.thaw(turn).await);
                }
                return Err(error);
            }
            tokio::time::sleep(look).await;
            look = (look * 2).min(LONGEST_LOOK);
        }
    }

    /// Lets everything run again.
    pub async fn resume(&self) -> Result<(), Error> {
        match self.turns(Turns::take_to_run) {
            Some(turn) => self.thaw(turn).await,
            None if self.shared().is_ending() => Err(Error::Disposed),
            // Where a VM cannot be paused, it runs.
            None => Ok(()),
        }
    }

    /// Freezes everything that runs until it is [thawed](Frozen::thaw), for work of the server.
    pub(crate) async fn freeze_meanwhile(&self) -> Result<Frozen<'_>, Error> {
        let asking = self.shared().pausing.asking.lock().await;
        let frozen = Frozen {
            vm: self,
            _asking: asking,
        };
        let deadline = Instant::now() + PATIENCE;
        let mut look = FIRST_LOOK;
        loop {
            let error = match self.ask_to_freeze(true).await {
                Ok(()) => return Ok(frozen),
                Err(error) => error,
            };
            if !is_not_yet(&error) || Instant::now() > deadline {
                let error = self.explained(error);
                drop(frozen.thaw().await);
                return Err(error);
            }
            tokio::time::sleep(look).await;
            look = (look * 2).min(LONGEST_LOOK);
        }
    }

    /// The error of a call that needs a program of the VM, while it is paused.
    pub(crate) fn require_running(&self) -> Result<(), Error> {
        self.turns(|turns| match turns.wish {
            Wish::Freeze => Err(Error::Paused),
            Wish::Run | Wish::Failed(_) => Ok(()),
        })
    }

    /// Whether everything is frozen now, or was resumed.
    async fn try_to_freeze(&self) -> Result<(), Error> {
        let _asking = self.shared().pausing.asking.lock().await;
        let decided = self.turns(|turns| match &turns.wish {
            Wish::Freeze => None,
            Wish::Run => Some(Ok(())),
            Wish::Failed(error) => Some(Err(error.clone())),
        });
        match decided {
            Some(decided) => decided,
            None => self.ask_to_freeze(true).await,
        }
    }

    async fn thaw(&self, turn: u64) -> Result<(), Error> {
        let _asking = self.shared().pausing.asking.lock().await;
        if self.turns(|turns| matches!(turns.wish, Wish::Freeze)) {
            return Ok(());
        }
        match self.ask_to_freeze(false).await {
            // What has no cgroups was not frozen.
            Ok(()) | Err(Error::IsolationUnavailable { .. }) => {
                self.turns(|turns| turns.thawed = turns.thawed.max(turn));
                Ok(())
            }
            Err(error) => Err(error),
        }
    }

    fn turns<T>(&self, act: impl FnOnce(&mut Turns) -> T) -> T {
        act(&mut self.shared().pausing.turns.lock())
    }

    async fn ask_to_freeze(&self, frozen: bool) -> Result<(), Error> {
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

/// Everything in a VM stands still until this is thawed.
#[must_use]
pub(crate) struct Frozen<'a> {
    vm: &'a Vm,
    /// Nobody else freezes or thaws meanwhile.
    _asking: tokio::sync::MutexGuard<'a, ()>,
}

impl Frozen<'_> {
    /// Lets everything run again, unless the VM is paused.
    pub async fn thaw(self) -> Result<(), Error> {
        if self.vm.turns(|turns| matches!(turns.wish, Wish::Freeze)) {
            return Ok(());
        }
        match self.vm.ask_to_freeze(false).await {
            // What has no cgroups was not frozen.
            Ok(()) | Err(Error::IsolationUnavailable { .. }) => Ok(()),
            Err(error) => self.vm.or_ended(Err(error)),
        }
    }
}

fn is_not_yet(error: &Error) -> bool {
    matches!(error, Error::System { errno: libc::EAGAIN, syscall, .. } if syscall == Failure::FREEZE)
}
