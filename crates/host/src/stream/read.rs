//! One read of a stream.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use super::kind::StreamKind;
use super::load;
use super::piece::Piece;
use super::terminal;
use crate::sys;

/// The size that the kernel gives a new pipe.
pub const FULL_PIPE: usize = 64 * 1024;

/// Appends up to `room` bytes to `data`.
pub fn read_some(fd: BorrowedFd<'_>, kind: StreamKind, data: &mut Vec<u8>, room: usize) -> io::Result<Piece> {
    if kind == StreamKind::Terminal {
        return terminal::gather(fd, data, room);
    }
    loop {
        match sys::read(fd, data, room) {
            // A pipe returns everything that it has in one read.
            Ok(length) => {
                let drained = length < room;
                if length >= FULL_PIPE {
                    load::mark_busy(fd.as_raw_fd());
                }
                return Ok(Piece { length, drained });
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
