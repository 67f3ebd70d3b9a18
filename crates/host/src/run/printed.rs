//! A command's output, kept up to a bound.

use std::io;

use crate::io_counters::IoCounters;
use crate::pool;
use crate::stream::Sink;

/// The output of a command on one stream.
#[derive(Debug)]
pub struct Printed {
    /// The kept bytes, at most as many as the bound.
    pub bytes: Vec<u8>,
    /// Whether the command printed more.
    pub truncated: bool,
    /// Whether all of `bytes` are ASCII.
    pub ascii: bool,
}

/// Collects output.
pub(super) struct Collector<'a> {
    printed: Printed,
    limit: usize,
    io_counters: &'a IoCounters,
}

impl<'a> Collector<'a> {
    /// An empty collection that keeps at most `limit` bytes.
    pub fn new(limit: usize, io_counters: &'a IoCounters) -> Self {
        Self {
            printed: Printed {
                bytes: Vec::new(),
                truncated: false,
                ascii: true,
            },
            limit,
            io_counters,
        }
    }

    /// Appends bytes, up to the bound.
    pub fn add(&mut self, data: &[u8]) {
        self.io_counters.add_output(data.len());
        let kept = &data[..data.len().min(self.limit - self.printed.bytes.len())];
        self.printed.truncated |= kept.len() < data.len();
        self.printed.ascii &= kept.is_ascii();
        self.printed.bytes.extend_from_slice(kept);
    }

    /// The collected output.
    pub fn into_printed(self) -> Printed {
        self.printed
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
