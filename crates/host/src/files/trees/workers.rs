//! Where the blocking work of an archive runs.

use crate::error::Error;
use crate::guest_threads::GuestThreads;
use crate::vm::Vm;

/// The threads of an archive.
#[derive(Clone)]
pub enum Workers {
    /// Those of a VM, with the rights of its user.
    Guest(Vm),
    /// Threads with the rights of this process, for trees of the host that no VM has to do with.
    Own(GuestThreads),
}

impl Workers {
    /// Runs `work` on one of them.
    pub async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        match self {
            Self::Guest(vm) => vm.blocking(work).await,
            Self::Own(threads) => threads.run(work).await,
        }
    }
}
