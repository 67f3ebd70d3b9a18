//! Buffers that streams are read into, used again: new memory is faulted in page by page, which takes as long as the reading
//! itself.

use std::io;
use std::mem;

use bytes::Bytes;
use parking_lot::Mutex;

/// How large each is.
pub const BUFFER_BYTES: usize = 128 * 1024;

/// How many are kept that nobody uses.
const KEPT: usize = 16;

/// The last to come back is the first to go out: it is still in the processor's cache.
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer.
pub fn take() -> Vec<u8> {
    let free = FREE.lock().pop();
    free.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
}

/// Gives one back.
pub fn give(mut buffer: Vec<u8>) {
    buffer.clear();
    let mut free = FREE.lock();
    if free.len() < KEPT {
        free.push(buffer);
    }
}

/// What `read` puts into a buffer, in memory that is at most twice as large.
pub fn filled(read: impl FnOnce(&mut Vec<u8>) -> io::Result<usize>) -> io::Result<Bytes> {
    let mut buffer = take();
    let read = read(&mut buffer);
    let data = if buffer.len() >= BUFFER_BYTES / 2 {
        Bytes::from_owner(Filled(buffer))
    } else {
        let data = Bytes::copy_from_slice(&buffer);
        give(buffer);
        data
    };
    read.map(|_| data)
}

/// A buffer that is given back when nobody holds any of what is in it.
struct Filled(Vec<u8>);

impl AsRef<[u8]> for Filled {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Filled {
    fn drop(&mut self) {
        give(mem::take(&mut self.0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(length: usize) -> Bytes {
        filled(|buffer| {
            buffer.resize(length, b'x');
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
        assert!(take().is_empty());
    }

    #[test]
    fn no_more_are_kept_than_said() {
        let held: Vec<_> = (0..3 * KEPT).map(|_| read(BUFFER_BYTES)).collect();
        drop(held);
        assert!(FREE.lock().len() <= KEPT);
    }
}
