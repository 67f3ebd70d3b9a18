//! Where a stream is read into.

use std::io;

/// Where what is read goes.
pub trait Sink {
    /// Waits until there is room, before which nothing is read.
    fn make_room(&mut self) -> impl Future<Output = ()> + Send;

    /// Calls `read`, once and without waiting, with a vector to append to and how much to append at most, which is `wanted`
    /// or less. Takes what it has appended.
    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize>;

    /// Waits until all that was taken is done with.
    fn finish(&mut self) -> impl Future<Output = ()> + Send;
}
