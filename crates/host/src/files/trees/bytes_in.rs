//! The bytes of an archive, as they arrive.

use tokio::sync::mpsc;

use super::tar_header::broken;
use crate::error::Error;

/// A stream of bytes that others send in pieces.
pub struct BytesIn {
    pieces: mpsc::Receiver<Vec<u8>>,
    piece: Vec<u8>,
    at: usize,
}

impl BytesIn {
    pub fn new(pieces: mpsc::Receiver<Vec<u8>>) -> Self {
        Self {
            pieces,
            piece: Vec::new(),
            at: 0,
        }
    }

    /// Up to `most` of the next bytes; none at the end.
    pub async fn next(&mut self, most: usize) -> &[u8] {
        while self.at == self.piece.len() {
            match self.pieces.recv().await {
                Some(piece) => (self.piece, self.at) = (piece, 0),
                None => return &[],
            }
        }
        let from = self.at;
        self.at = self.piece.len().min(from.saturating_add(most));
        &self.piece[from..self.at]
    }

    /// Fills a buffer. False if there is not one byte more.
    pub async fn fill(&mut self, buffer: &mut [u8]) -> Result<bool, Error> {
        let mut filled = 0;
        while filled < buffer.len() {
            let part = self.next(buffer.len() - filled).await;
            if part.is_empty() {
                return if filled == 0 { Ok(false) } else { Err(broken()) };
            }
            buffer[filled..filled + part.len()].copy_from_slice(part);
            filled += part.len();
        }
        Ok(true)
    }

    /// Reads so many bytes.
    pub async fn read(&mut self, length: usize) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        while bytes.len() < length {
            let part = self.next(length - bytes.len()).await;
            if part.is_empty() {
                return Err(broken());
            }
            bytes.extend_from_slice(part);
        }
        Ok(bytes)
    }

    /// Leaves out so many bytes.
    pub async fn skip(&mut self, mut length: u64) -> Result<(), Error> {
        while length > 0 {
            let part = self
                .next(usize::try_from(length).unwrap_or(usize::MAX))
                .await
                .len();
            if part == 0 {
                return Err(broken());
            }
            length -= part as u64;
        }
        Ok(())
    }
}
