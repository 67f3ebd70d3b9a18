//! A command's output, kept up to a bound: its beginning, its end, or both.

use std::io;

use crate::io_counters::IoCounters;
use crate::pool;
use crate::stream::Sink;

/// How many bytes of a stream are kept.
#[derive(Debug, Clone, Copy)]
pub struct KeptBytes {
    /// The first ones.
    pub head: usize,
    /// Of those after them, the last ones.
    pub tail: usize,
}

/// The output of a command on one stream.
#[derive(Debug)]
pub struct Printed {
    /// The first bytes; all of them if none was dropped.
    pub head: Vec<u8>,
    /// Whether all of `head` are ASCII.
    pub head_is_ascii: bool,
    /// How many bytes after `head` were dropped.
    pub dropped: u64,
    /// The bytes after those; empty if none was dropped.
    pub tail: Vec<u8>,
}

/// Collects output.
pub(super) struct Collector<'a> {
    head: Vec<u8>,
    head_is_ascii: bool,
    tail: Tail,
    kept: KeptBytes,
    io_counters: &'a IoCounters,
}

impl<'a> Collector<'a> {
    /// An empty collection that keeps at most `kept`.
    pub fn new(kept: KeptBytes, io_counters: &'a IoCounters) -> Self {
        Self {
            head: Vec::new(),
            head_is_ascii: true,
            tail: Tail::new(kept.tail),
            kept,
            io_counters,
        }
    }

    /// Appends bytes, up to the bound.
    pub fn add(&mut self, data: &[u8]) {
        self.io_counters.add_output(data.len());
        let room = self.kept.head - self.head.len();
        let (first, rest) = data.split_at(data.len().min(room));
        self.head_is_ascii &= first.is_ascii();
        self.head.extend_from_slice(first);
        self.tail.add(rest);
    }

    /// The collected output.
    pub fn into_printed(self) -> Printed {
        let Self {
            mut head,
            mut head_is_ascii,
            tail,
            ..
        } = self;
        let dropped = tail.dropped;
        let mut tail = tail.into_bytes();
        if dropped == 0 {
            head_is_ascii &= tail.is_ascii();
            if head.is_empty() {
                head = tail;
            } else {
                head.extend_from_slice(&tail);
            }
            tail = Vec::new();
        }
        Printed {
            head,
            head_is_ascii,
            dropped,
            tail,
        }
    }
}

/// A ring of the last bytes.
struct Tail {
    bytes: Vec<u8>,
    /// The index of the oldest byte, once the ring is full.
    start: usize,
    limit: usize,
    dropped: u64,
}

impl Tail {
    fn new(limit: usize) -> Self {
        Self {
            bytes: Vec::new(),
            start: 0,
            limit,
            dropped: 0,
        }
    }

    fn add(&mut self, data: &[u8]) {
        let kept = &data[data.len().saturating_sub(self.limit)..];
        self.dropped += (data.len() - kept.len()) as u64;
        let (first, rest) = kept.split_at(kept.len().min(self.limit - self.bytes.len()));
        self.bytes.extend_from_slice(first);
        self.dropped += rest.len() as u64;
        let (until_end, from_start) = rest.split_at(rest.len().min(self.bytes.len() - self.start));
        self.bytes[self.start..self.start + until_end.len()].copy_from_slice(until_end);
        self.bytes[..from_start.len()].copy_from_slice(from_start);
        if !rest.is_empty() {
            self.start = (self.start + rest.len()) % self.limit;
        }
    }

    fn into_bytes(mut self) -> Vec<u8> {
        self.bytes.rotate_left(self.start);
        self.bytes
    }
}

impl Sink for Collector<'_> {
    async fn make_room(&mut self) {}

    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        // Read into a reused buffer first: reading into new memory causes page faults while the kernel locks the pipe
        // and the writer waits.
        let mut buffer = pool::take();
        let read = buffer.append(|bytes| read(bytes, wanted));
        self.add(buffer.filled());
        pool::give(buffer);
        read
    }

    async fn finish(&mut self) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_bytes_are_kept_however_they_arrive() {
        let counters = IoCounters::default();
        let all: Vec<u8> = (0..40).collect();
        for (head, tail) in [
            (0, 0),
            (7, 0),
            (0, 7),
            (4, 3),
            (20, 20),
            (0, 64),
            (64, 0),
            (1, 39),
        ] {
            for length in 0..=all.len() {
                for piece in 1..=all.len() {
                    let mut collector = Collector::new(KeptBytes { head, tail }, &counters);
                    for data in all[..length].chunks(piece) {
                        collector.add(data);
                    }
                    let printed = collector.into_printed();
                    let dropped = length.saturating_sub(head + tail);
                    let first = if dropped == 0 { length } else { head };
                    assert_eq!(printed.head, all[..first]);
                    assert_eq!(printed.tail, all[first + dropped..length]);
                    assert_eq!(printed.dropped, dropped as u64);
                    assert!(printed.head_is_ascii);
                }
            }
        }
    }
}
