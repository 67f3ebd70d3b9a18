//! Reuses the buffers that streams are read into: page faults in new memory take as long as the read itself.

use std::io;

use bytes::Bytes;
use parking_lot::Mutex;

/// The number of bytes read into each buffer.
pub const BUFFER_BYTES: usize = 128 * 1024;

/// The maximum number of unused buffers that are kept.
const KEPT: usize = 16;

/// Every system's page size is a multiple of this.
const PAGE: usize = 4096;

/// Used as a stack: the last returned buffer is still in the processor's cache.
static FREE: Mutex<Vec<PageBuffer>> = Mutex::new(Vec::new());

/// A buffer whose data begins at the start of a page, as in a full pipe. The kernel copies with the processor's `rep
/// movsb`, which is up to eight times slower if the destination begins a few bytes further into its page than the
/// source does, and `malloc` places large blocks 16 bytes after the start of a page.
pub struct PageBuffer {
    /// Padding up to `start`, then the data.
    bytes: Vec<u8>,
    start: usize,
}

impl PageBuffer {
    fn new() -> Self {
        let mut bytes: Vec<u8> = Vec::with_capacity(BUFFER_BYTES + PAGE);
        let start = bytes.as_ptr().align_offset(PAGE).min(PAGE);
        bytes.resize(start, 0);
        Self { bytes, start }
    }

    /// Lets `read` append to the buffer; up to [`BUFFER_BYTES`] do not move the data.
    pub fn append<T>(&mut self, read: impl FnOnce(&mut Vec<u8>) -> T) -> T {
        read(&mut self.bytes)
    }

    /// The data.
    pub fn filled(&self) -> &[u8] {
        self.bytes.get(self.start..).unwrap_or_default()
    }
}

/// An empty buffer.
pub fn take() -> PageBuffer {
    let free = FREE.lock().pop();
    free.unwrap_or_else(PageBuffer::new)
}

/// Returns a buffer to the pool.
pub fn give(mut buffer: PageBuffer) {
    buffer.bytes.truncate(buffer.start);
    let mut free = FREE.lock();
    if free.len() < KEPT {
        free.push(buffer);
    }
}

/// The bytes that `read` puts into a buffer, in memory of at most twice their size plus a page.
pub fn filled(read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>) -> io::Result<Bytes> {
    let mut buffer = take();
    let read = buffer.append(read);
    let data = if buffer.filled().len() >= BUFFER_BYTES / 2 {
        Bytes::from_owner(Filled(Some(buffer)))
    } else {
        let data = Bytes::copy_from_slice(buffer.filled());
        give(buffer);
        data
    };
    read.map(|_| data)
}

/// A buffer that returns to the pool when nothing refers to its bytes any more.
struct Filled(Option<PageBuffer>);

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        self.0.as_ref().map(PageBuffer::filled).unwrap_or_default()
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        if let Some(buffer) = self.0.take() {
            give(buffer);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::iter;

    use super::*;

    fn read(length: usize) -> Bytes {
        filled(|buffer| {
            buffer.extend(iter::repeat_n(b'x', length));
            Ok(length)
        })
        .expect("it is read")
    }

    #[test]
    fn what_was_read_stays_as_it_is_while_its_buffer_is_used_again() {
        let mut held = Vec::new();
        for length in [0, 1, BUFFER_BYTES / 2 - 1, BUFFER_BYTES / 2, BUFFER_BYTES] {
            held.push((length, read(length)));
            drop(read(BUFFER_BYTES));
        }
        for (length, data) in held {
            assert!(data == vec![b'x'; length]);
        }
        assert!(take().filled().is_empty());
    }

    #[test]
    fn what_is_read_begins_at_the_start_of_a_page() {
        let held: Vec<_> = (0..2 * KEPT).map(|_| read(BUFFER_BYTES)).collect();
        for data in &held {
            assert_eq!(data.as_ptr().align_offset(PAGE), 0);
        }
    }

    #[test]
    fn no_more_are_kept_than_said() {
        let held: Vec<_> = (0..3 * KEPT).map(|_| read(BUFFER_BYTES)).collect();
        drop(held);
        assert!(FREE.lock().len() <= KEPT);
    }
}
