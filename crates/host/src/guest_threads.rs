//! Blocking work that may have to wait for a VM's programs: they can hold the lock of a file, or of their own memory,
//! for as long as they like.

use std::sync::Arc;

use tokio::sync::oneshot;

use crate::error::Error;
use crate::runtime;
use crate::vm::Vm;

impl Vm {
    /// Runs `work` on a thread that may block. Each VM has a few such threads; more work waits for one.
    pub(crate) async fn on_guest_thread<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let threads = Arc::clone(&self.shared().bounds.guest_threads);
        let permit = tokio::select! {
            // The semaphore is never closed.
            permit = threads.acquire_owned() => permit.map_err(|_| Error::Disposed)?,
            () = self.ended() => return Err(Error::Disposed),
        };
        let runtime = runtime::guest().map_err(|error| Error::system(&error, "epoll_create"))?;
        let (sender, done) = oneshot::channel();
        drop(runtime.spawn_blocking(move || {
            let result = work();
            drop(permit);
            // A failed send means that the caller no longer waits.
            drop(sender.send(result));
        }));
        // The work does not panic, and the runtime is never shut down.
        done.await.map_err(|_| Error::Disposed)?
    }
}
