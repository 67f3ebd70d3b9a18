//! Buffers that fast streams are read into, used again: new memory is faulted in page by page, which takes as long as the
//! reading itself.

use bytes::Bytes;
use parking_lot::Mutex;

/// How large each is.
pub const BUFFER_BYTES: usize = 256 * 1024;

/// How many are kept that nobody uses.
const KEPT: usize = 8;

/// The last to come back is the first to go out: it is still in the processor's cache.
static FREE: Mutex<Vec<Vec<u8>>> = Mutex::new(Vec::new());

/// An empty buffer.
pub fn take() -> Vec<u8> {
    let free = FREE.lock().pop();
    free.unwrap_or_else(|| Vec::with_capacity(BUFFER_BYTES))
}

/// Gives back one that is not needed.
pub fn give(mut buffer: Vec<u8>) {
    buffer.clear();
    let mut free = FREE.lock();
    if free.len() < KEPT {
        free.push(buffer);
    }
}

/// What a buffer holds. It is given back when nobody holds any of that.
pub fn share(buffer: Vec<u8>) -> Bytes {
    Bytes::from_owner(Shared(buffer))
}

struct Shared(Vec<u8>);

impl AsRef<[u8]> for Shared {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        give(std::mem::take(&mut self.0));
    }
}
