//! Aborts a running call.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::Notify;

/// Gives up what a call has begun.
type Stop = Box<dyn FnOnce() + Send>;

/// A handle to abort a running command, a connection that is being made, or a wait for a screen.
#[derive(Clone, Default)]
pub struct Abort(Arc<Shared>);

#[derive(Default)]
struct Shared {
    aborted: Notify,
    /// Gives up the command's start, until its program runs.
    stop: Mutex<Option<Stop>>,
}

impl Abort {
    /// Kills everything that the command started, or gives up the connection; the call fails with
    /// [`Error::Aborted`](crate::Error::Aborted). Does nothing if the call has ended.
    pub fn abort(&self) {
        let stop = self.0.stop.lock().take();
        if let Some(stop) = stop {
            stop();
        }
        self.0.aborted.notify_one();
    }

    /// Has `stop` called by [`abort`](Self::abort), until [`has_started`](Self::has_started).
    pub(crate) fn starts(&self, stop: impl FnOnce() + Send + 'static) {
        *self.0.stop.lock() = Some(Box::new(stop));
    }

    /// From now on the call waits for [`aborted`](Self::aborted).
    pub(crate) fn has_started(&self) {
        drop(self.0.stop.lock().take());
    }

    /// Returns when `abort` has been called.
    pub(crate) async fn aborted(&self) {
        self.0.aborted.notified().await;
    }
}

impl fmt::Debug for Abort {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Abort").finish_non_exhaustive()
    }
}
