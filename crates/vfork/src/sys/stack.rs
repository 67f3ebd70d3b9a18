//! The memory for a child's stack.

use std::ffi::c_void;
use std::io;
use std::ptr;

/// The size of a child's stack in bytes. The child makes system calls and formats a few numbers, without deep calls.
pub(super) const STACK_BYTES: usize = 64 * 1024;

/// A stack for children, made once and used by one child at a time.
#[derive(Debug)]
pub struct Stack {
    base: *mut c_void,
}

// SAFETY: the mapping is plain memory with no tie to a thread, and `&mut self` guards its one use at a time.
unsafe impl Send for Stack {}

impl Stack {
    /// Maps a stack of 64 KiB.
    pub fn new() -> io::Result<Self> {
        // SAFETY: an anonymous mapping at an address that the kernel chooses touches no existing memory.
        let base = unsafe {
            libc::mmap(
                ptr::null_mut(),
                STACK_BYTES,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_STACK,
                -1,
                0,
            )
        };
        if base == libc::MAP_FAILED {
            Err(io::Error::last_os_error())
        } else {
            Ok(Self { base })
        }
    }

    /// Its lowest address.
    pub(super) fn base(&self) -> usize {
        self.base as usize
    }

    /// The address above it, where a child begins.
    pub(super) fn top(&self) -> usize {
        self.base() + STACK_BYTES
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        // SAFETY: `base` is a mapping of this length that `new` made and nothing else unmaps; no child runs on it,
        // since `vfork` returns only when the child has left it.
        unsafe { libc::munmap(self.base, STACK_BYTES) };
    }
}
