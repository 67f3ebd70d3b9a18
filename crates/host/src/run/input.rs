//! Writes to the input of a process or a shell.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::input::{Input, Written};
use crate::runtime;
use crate::vm::Vm;

/// A write that the kernel has not fully accepted yet. The rest is written even if nothing waits for it.
pub struct PendingWrite {
    vm: Vm,
    done: oneshot::Receiver<()>,
    closed: Error,
}

impl PendingWrite {
    /// Waits until the kernel has accepted all of it.
    ///
    /// # Errors
    /// The same as for the call that began the write, if the reader ended first.
    pub async fn finished(self) -> Result<(), Error> {
        match self.done.await {
            Ok(()) => Ok(()),
            // The reader may have ended by itself, or with the VM.
            Err(_) if self.vm.is_alive().await => Err(self.closed),
            Err(_) => Err(Error::Disposed),
        }
    }
}

/// Writes `data` to `input`. Returns `None` if the kernel accepts all of it at once. Fails with `closed` if nothing can
/// read it.
pub(super) fn write(
    vm: &Vm,
    input: &Arc<Input>,
    data: &[u8],
    closed: Error,
) -> Result<Option<PendingWrite>, Error> {
    let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
    let pending = match input.write(data, runtime)? {
        Written::Closed => return Err(closed),
        Written::Whole => None,
        Written::Queued(done) => Some(PendingWrite {
            vm: vm.clone(),
            done,
            closed,
        }),
    };
    vm.shared().io_counters.add_input(data.len());
    Ok(pending)
}
