//! Aborts a running call.

use std::sync::Arc;

use tokio::sync::Notify;

/// A handle to abort a running command, a connection that is being made, or a wait for a screen.
#[derive(Debug, Clone, Default)]
pub struct Abort(Arc<Notify>);

impl Abort {
    /// Kills everything that the command started, or gives up the connection; the call fails with
    /// [`Error::Aborted`](crate::Error::Aborted). Does nothing if the call has ended.
    pub fn abort(&self) {
        self.0.notify_one();
    }

    /// Returns when `abort` has been called.
    pub(crate) async fn aborted(&self) {
        self.0.notified().await;
    }
}
