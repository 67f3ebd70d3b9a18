//! Giving up a call that is under way.

use std::sync::Arc;

use tokio::sync::Notify;

/// A handle on a running command, or on a connection that is being made.
#[derive(Debug, Clone, Default)]
pub struct Abort(Arc<Notify>);

impl Abort {
    /// Kills everything that the command started, or gives the connection up; the call fails with
    /// [`Error::Aborted`](crate::Error::Aborted). Does nothing once the call has ended.
    pub fn abort(&self) {
        self.0.notify_one();
    }

    /// Returns when `abort` has been called.
    pub(crate) async fn aborted(&self) {
        self.0.notified().await;
    }
}
