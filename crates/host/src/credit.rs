//! Backpressure: a receiver holds a credit for each chunk that it is still processing.

use tokio::sync::oneshot;

/// Held by the receiver of a chunk while it processes the chunk. Dropping it returns the credit, and the sender may
/// send the next chunk. So a slow receiver leaves bytes in the kernel's pipe, and the kernel blocks the writer.
#[derive(Debug)]
pub struct Credit(#[allow(dead_code, reason = "dropping it is its message")] oneshot::Sender<()>);

/// Resolves when the [`Credit`] of its pair is dropped.
pub struct CreditReturned(oneshot::Receiver<()>);

impl Credit {
    /// A credit, and the future that waits for its return.
    #[must_use]
    pub fn new() -> (Self, CreditReturned) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), CreditReturned(receiver))
    }
}

impl CreditReturned {
    /// Whether the credit is returned.
    pub fn is_returned(&mut self) -> bool {
        !matches!(self.0.try_recv(), Err(oneshot::error::TryRecvError::Empty))
    }

    /// Waits until the credit is returned.
    pub async fn wait(self) {
        // No value is ever sent: the sender's end is the signal.
        drop(self.0.await);
    }
}
