//! Reading that can be paused.

use std::io;

use tokio::sync::watch;

use crate::records::Flow;
use crate::stream::Sink;

/// A sink without room while its stream is paused. Once the program has exited there is room again: what the program
/// wrote itself, which is no more than its pipe holds, comes before its exit event.
pub(super) struct Gated<'a, S, R> {
    pub sink: S,
    pub flow: &'a Flow,
    pub exited: watch::Receiver<bool>,
    /// Waits for what else must have room, which always comes.
    pub room: R,
}

impl<S: Sink + Send, R: Fn() -> F + Send, F: Future<Output = ()> + Send> Sink for Gated<'_, S, R> {
    async fn make_room(&mut self) {
        if self.flow.is_paused() {
            tokio::select! {
                () = self.flow.unpaused() => {}
                // An error would mean that nobody waits for the exit any more.
                _ = self.exited.wait_for(|exited| *exited) => {}
            }
        }
        (self.room)().await;
        self.sink.make_room().await;
    }

    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        self.sink.take(wanted, read)
    }

    async fn finish(&mut self) {
        self.sink.finish().await;
    }
}
