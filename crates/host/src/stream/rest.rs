//! The end of a stream: what is left to read when its program has exited.

use std::io;
use std::os::fd::BorrowedFd;

use super::kind::StreamKind;
use super::read::read_some;
use super::sink::Sink;
use super::terminal;
use crate::sys;

/// Whether there is more to come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// Nobody can write any more.
    Closed,
    /// The process has exited and what it wrote is read; others still hold the other end.
    StillOpen,
}

/// Reads into `sink` what was written to a non-blocking descriptor whose process has exited, if it has not been read.
pub async fn read_rest(fd: BorrowedFd<'_>, kind: StreamKind, sink: &mut impl Sink) -> StreamEnd {
    let mut left = match kind {
        StreamKind::Pipe => sys::available(fd).unwrap_or(0),
        // The kernel moves what was written to the reader's side lazily; a read that finds nothing has made it do so.
        StreamKind::Terminal => terminal::BACKLOG,
    };
    let end = loop {
        sink.make_room().await;
        let read = |data: &mut Vec<u8>, room: usize| Ok(read_some(fd, kind, data, room)?.length);
        match sink.take(kind.largest_read(), read) {
            // The last read is for the end-of-file behind it; what it brings instead was written since.
            Ok(length) if length > 0 => match left.checked_sub(length) {
                Some(rest) => left = rest,
                None => break StreamEnd::StillOpen,
            },
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => break StreamEnd::StillOpen,
            Ok(_) | Err(_) => break StreamEnd::Closed,
        }
    };
    sink.finish().await;
    end
}
