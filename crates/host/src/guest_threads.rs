//! Blocking work that may have to wait for a VM's programs: they can hold the lock of a file, of their own memory, or of an
//! `execve` that is under way, for as long as they like.

use std::sync::Arc;

use tokio::sync::{Semaphore, oneshot};

use crate::error::Error;
use crate::runtime;

/// The maximum number of such threads of one VM. More work waits.
const GUEST_THREADS: usize = 4;

/// The threads of one VM.
#[derive(Debug, Clone)]
pub struct GuestThreads(Arc<Semaphore>);

impl GuestThreads {
    /// Those of a new VM.
    pub fn new() -> Self {
        Self(Arc::new(Semaphore::new(GUEST_THREADS)))
    }

    /// Runs `work` on one of them, as soon as one is free.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        // The semaphore is never closed.
        let permit = Arc::clone(&self.0).acquire_owned().await;
        let permit = permit.map_err(|_| Error::Disposed)?;
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
