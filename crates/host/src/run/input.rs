//! Writing to a process or a shell.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::input::{Input, Written};
use crate::runtime;
use crate::vm::Vm;

/// A write of which the kernel has not taken all yet. The rest is written whether or not this is waited for.
pub struct PendingWrite {
    vm: Vm,
    done: oneshot::Receiver<()>,
    closed: Error,
}

impl PendingWrite {
    /// Waits until the kernel has taken all of it.
    ///
    /// # Errors
    /// As the call that made it, if the reader ended first.
    pub async fn finished(self) -> Result<(), Error> {
        match self.done.await {
            Ok(()) => Ok(()),
            // The reader may have ended alone, or with the VM.
            Err(_) if self.vm.is_alive().await => Err(self.closed),
            Err(_) => Err(Error::Disposed),
        }
    }
}

/// Writes `data` to `input`; nothing remains to be waited for if the kernel takes all of it at once. Fails with `closed` if
/// nothing can read it.
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
