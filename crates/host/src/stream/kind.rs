//! The kinds of descriptors that a stream is read from.

use super::terminal;
use crate::pool;

/// The kind of descriptor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// A pipe; a read of zero bytes means its end.
    Pipe,
    /// A terminal's master; EIO means its end.
    Terminal,
}

impl StreamKind {
    /// The maximum number of bytes in one read.
    pub fn largest_read(self) -> usize {
        match self {
            Self::Pipe => pool::BUFFER_BYTES,
            Self::Terminal => terminal::LARGEST_READ,
        }
    }
}
