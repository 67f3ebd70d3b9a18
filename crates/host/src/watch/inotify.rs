//! The inotify instance of one VM, and the places in its queue of events.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;

use super::raw::Position;
use super::state::State;
use super::sys;
use crate::error::Error;

/// The bytes of one read, and how many reads there are before other work has its turn.
const READ_BYTES: usize = 16 * 1024;
const READS: usize = 16;

/// After how much time other work has its turn, too.
const TURN: Duration = Duration::from_millis(10);

/// The instance. Nothing else reads from it, so the number of bytes that were read is a place among the events.
pub struct Inotify {
    fd: Arc<OwnedFd>,
    read: Position,
}

impl Inotify {
    pub fn new(fd: Arc<OwnedFd>) -> Self {
        Self { fd, read: 0 }
    }

    /// Watches the file that `target_fd` refers to, and returns the number of the watch: always the same for one file.
    pub fn add(&self, target_fd: BorrowedFd<'_>, mask: u32) -> io::Result<i32> {
        sys::add(self.fd.as_fd(), target_fd, mask)
    }

    /// Where the next event is read.
    pub fn position(&self) -> Position {
        self.read
    }

    /// Where the next event that happens will be.
    pub fn end(&self) -> Result<Position, Error> {
        let waiting =
            crate::sys::available(self.fd.as_fd()).map_err(|error| Error::system(&error, "ioctl"))?;
        Ok(self.read + waiting as Position)
    }

    /// Reads events until there are none, or other work must have its turn. Then ends the watches that are not needed any more.
    /// Returns whether there are none.
    pub fn read(&mut self, state: &mut State) -> Result<bool, Errno> {
        let is_drained = self.read_for_a_turn(state)?;
        state.end_turn(is_drained, Instant::now());
        for number in state.take_dropped() {
            sys::remove(self.fd.as_fd(), number);
        }
        Ok(is_drained)
    }

    fn read_for_a_turn(&mut self, state: &mut State) -> Result<bool, Errno> {
        let mut bytes = [0; READ_BYTES];
        let (mut reads, began) = (0, Instant::now());
        while reads < READS && began.elapsed() < TURN {
            match nix::unistd::read(&*self.fd, &mut bytes) {
                Ok(0) | Err(Errno::EAGAIN) => return Ok(true),
                Ok(length) => {
                    state.take(&bytes[..length], self.read, Instant::now());
                    self.read += length as Position;
                }
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno),
            }
            reads += 1;
        }
        Ok(false)
    }
}
