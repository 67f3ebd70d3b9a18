//! The receiver of a stream's bytes.

use std::io;

/// Receives what is read.
pub trait Sink {
    /// Waits until there is room; nothing is read before that.
    fn make_room(&mut self) -> impl Future<Output = ()> + Send;

    /// Calls `read` once, without waiting, with a vector to append to and the maximum number of bytes to append
    /// (`wanted` or less). Takes the appended bytes.
    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize>;

    /// Waits until everything that was taken has been processed.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}
