//! The end of a stream: reads what is left after its program has exited.

use std::io;
use std::os::fd::BorrowedFd;

use super::kind::StreamKind;
use super::read::read_some;
use super::sink::Sink;
use super::terminal;
use crate::sys;

/// How a stream ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamEnd {
    /// No process can write to it any more.
    Closed,
    /// The program has exited and everything that it wrote was read; other processes still hold the other end.
    StillOpen,
}

/// Reads into `sink` what is still unread in a non-blocking descriptor after its process has exited.
pub async fn read_rest(fd: BorrowedFd<'_>, kind: StreamKind, sink: &mut impl Sink) -> StreamEnd {
    let mut left = match kind {
        StreamKind::Pipe => sys::available(fd).unwrap_or(0),
        // The kernel moves written data to the reader's side only later; a read that finds nothing makes it do so.
        StreamKind::Terminal => terminal::BACKLOG,
    };
    let end = loop {
        sink.make_room().await;
        let read = |data: &mut Vec<u8>, room: usize| Ok(read_some(fd, kind, data, room)?.length);
        match sink.take(kind.largest_read(), read) {
            // The last read only looks for the end-of-file; any data that it returns was written after the exit.
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
