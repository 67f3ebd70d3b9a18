//! The result of one read.

/// The result of one read; a length of 0 means end-of-file.
pub struct Piece {
    pub length: usize,
    /// Whether nothing more was there: the next data causes a new edge in `epoll(7)`.
    pub drained: bool,
}
