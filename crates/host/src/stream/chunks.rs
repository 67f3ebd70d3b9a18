//! Handing a stream to a receiver in chunks, no faster than the receiver finishes with them.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::kind::StreamKind;
use super::read::FULL_PIPE;
use super::sink::Sink;
use crate::{placement, pool};

/// The largest chunk that is handed on. V8 copies it to memory of its own; larger pieces of that would be given back to the
/// kernel when they are freed, and faulted in again for the next.
pub const LARGEST_CHUNK: usize = 32 * 1024;

/// Chunks of one stream that the receiver may hold at a time, at least; reading goes on when it has let go of half of them, so
/// that a fast stream costs one wake-up for many chunks.
const NARROWEST: usize = 4;

/// The most, of a pipe.
const WIDEST: usize = 64;

/// The most, of a terminal: what a user still gets to see after an interrupt.
const WIDEST_OF_TERMINAL: usize = 8;

/// A receiver that lets go of half of what it may hold in this time may hold more, others less: chunks that wait for a slow
/// one keep all else waiting behind them.
const QUICK: Duration = Duration::from_millis(2);

/// Hands on what is read in chunks of at most [`LARGEST_CHUNK`]; while the receiver holds as many as it may, there is no room.
pub struct Chunks<T, F> {
    take: T,
    window: Window<F>,
}

impl<T: FnMut(Bytes) -> F, F: Future<Output = ()>> Chunks<T, F> {
    /// Each chunk of a `kind` of stream goes to `take`, and is done with when the future is.
    pub fn new(kind: StreamKind, take: T) -> Self {
        let widest = match kind {
            StreamKind::Pipe => WIDEST,
            StreamKind::Terminal => WIDEST_OF_TERMINAL,
        };
        Self {
            take,
            window: Window {
                held: VecDeque::new(),
                width: NARROWEST,
                widest,
            },
        }
    }
}

impl<T: FnMut(Bytes) -> F + Send, F: Future<Output = ()> + Send> Sink for Chunks<T, F> {
    async fn make_room(&mut self) {
        self.window.make_room().await;
    }

    fn take(
        &mut self,
        wanted: usize,
        read: impl FnOnce(&mut Vec<u8>, usize) -> io::Result<usize>,
    ) -> io::Result<usize> {
        let room = wanted.min(self.window.room() * LARGEST_CHUNK);
        let mut data = pool::filled(|buffer| read(buffer, room))?;
        let length = data.len();
        if length >= FULL_PIPE {
            placement::keep_apart();
        }
        while !data.is_empty() {
            let chunk = data.split_to(data.len().min(LARGEST_CHUNK));
            self.window.push((self.take)(chunk));
        }
        Ok(length)
    }

    async fn finish(&mut self) {
        self.window.drain().await;
    }
}

/// The chunks of a stream that the receiver is not done with, in order.
struct Window<F> {
    held: VecDeque<F>,
    width: usize,
    widest: usize,
}

impl<F: Future<Output = ()>> Window<F> {
    fn push(&mut self, taking: F) {
        self.held.push_back(taking);
    }

    /// How many more it may hold.
    fn room(&self) -> usize {
        self.width.saturating_sub(self.held.len())
    }

    /// Waits, if it is full, until about half of it is done with.
    async fn make_room(&mut self) {
        while self.room() == 0 {
            let began = Instant::now();
            // Receivers are done with chunks in their order, so the last of these comes when all of them have.
            let last = self.held.drain(..self.width / 2).next_back();
            if let Some(last) = last {
                last.await;
            }
            self.width = if began.elapsed() < QUICK {
                (self.width * 2).min(self.widest)
            } else {
                (self.width / 2).max(NARROWEST)
            };
        }
    }

    /// Waits until all of it is done with.
    async fn drain(&mut self) {
        if let Some(last) = self.held.drain(..).next_back() {
            last.await;
        }
    }
}
