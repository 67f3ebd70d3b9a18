//! What a command prints, kept up to a bound.

use std::io;

use crate::io_counters::IoCounters;
use crate::pool;
use crate::stream::Sink;

/// What a command printed to one stream.
#[derive(Debug)]
pub struct Printed {
    /// At most as many bytes as the bound.
    pub bytes: Vec<u8>,
    /// Whether the command printed more.
    pub truncated: bool,
    /// Whether all of `bytes` are ASCII.
    pub ascii: bool,
}

/// Collects what is printed.
pub(super) struct Collector<'a> {
    printed: Printed,
    limit: usize,
    io_counters: &'a IoCounters,
}

impl<'a> Collector<'a> {
    /// Nothing yet, and at most `limit` bytes later.
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

    /// Adds bytes, as far as there is room.
    pub fn add(&mut self, data: &[u8]) {
        self.io_counters.add_output(data.len());
        let kept = &data[..data.len().min(self.limit - self.printed.bytes.len())];
        self.printed.truncated |= kept.len() < data.len();
        self.printed.ascii &= kept.is_ascii();
        self.printed.bytes.extend_from_slice(kept);
    }

    /// What was collected.
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
        // Not straight to where it is kept: new memory would be faulted in while the kernel holds the pipe and the writer waits.
        let mut buffer = pool::take();
        let read = buffer.append(|bytes| read(bytes, wanted));
        self.add(buffer.filled());
        pool::give(buffer);
        read
    }

    async fn finish(&mut self) {}
}
