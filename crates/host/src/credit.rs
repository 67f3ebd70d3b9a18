//! Backpressure: a receiver holds a credit for each chunk that it has not finished with.

use tokio::sync::oneshot;

/// Held by the receiver of a chunk while it works on it; dropping it returns the credit, and the sender may send the next chunk.
/// A slow receiver thus leaves bytes in the kernel's pipe, and the kernel stops the writer.
#[derive(Debug)]
pub struct Credit(#[allow(dead_code, reason = "dropping it is its message")] oneshot::Sender<()>);

/// Resolves when the [`Credit`] of its pair is dropped.
pub struct CreditReturned(oneshot::Receiver<()>);

impl Credit {
    /// A pair.
    #[must_use]
    pub fn new() -> (Self, CreditReturned) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), CreditReturned(receiver))
    }
}

impl CreditReturned {
    /// Waits.
    pub async fn wait(self) {
        // The sender sends nothing: its end is the answer.
        drop(self.0.await);
    }
}
