//! What one read brought.

/// What one look at a descriptor brought; no bytes say end-of-file.
pub struct Piece {
    pub length: usize,
    /// Whether there was no more: what comes next will be a new edge to `epoll(7)`.
    pub drained: bool,
}
