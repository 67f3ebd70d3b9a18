//! What a stream is read from.

use super::terminal;
use crate::pool;

/// What is read from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamKind {
    /// A pipe: its end is a read of nothing.
    Pipe,
    /// A terminal's master: its end is EIO.
    Terminal,
}

impl StreamKind {
    /// How much is read at a time.
    pub fn largest_read(self) -> usize {
        match self {
            Self::Pipe => pool::BUFFER_BYTES,
            Self::Terminal => terminal::LARGEST_READ,
        }
    }
}
