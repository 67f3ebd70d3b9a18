//! Passes a stream to a receiver in chunks, no faster than the receiver processes them.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use bytes::Bytes;

use super::kind::StreamKind;
use super::read::FULL_PIPE;
use super::sink::Sink;
use crate::{placement, pool};

/// The largest chunk. V8 copies each chunk to its own memory; memory of larger chunks would go back to the kernel when
/// freed, and cause page faults again for the next chunk.
pub const LARGEST_CHUNK: usize = 32 * 1024;

/// The minimum number of chunks of one stream that the receiver may hold. Reading continues when the receiver has
/// released half of them, so that a fast stream costs one wake-up for many chunks.
const NARROWEST: usize = 4;

/// The maximum number for a pipe.
const WIDEST: usize = 64;

/// The maximum number for a terminal: a user still sees this much output after an interrupt.
const WIDEST_OF_TERMINAL: usize = 8;

/// If a receiver releases half of its chunks within this time, it may hold more, otherwise fewer: chunks that wait for
/// a slow receiver delay everything behind them.
const QUICK: Duration = Duration::from_millis(2);

/// Splits a stream into chunks of at most [`LARGEST_CHUNK`]. There is room while the receiver holds fewer chunks than
/// it may.
pub struct Chunks<T, F> {
    take: T,
    window: Window<F>,
}

impl<T: FnMut(Bytes) -> F, F: Future<Output = ()>> Chunks<T, F> {
    /// `take` gets each chunk of a stream of this `kind`; the future that it returns resolves when the receiver has
    /// processed the chunk.
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

/// The chunks of a stream that the receiver has not processed yet, in order.
struct Window<F> {
    held: VecDeque<F>,
    width: usize,
    widest: usize,
}

impl<F: Future<Output = ()>> Window<F> {
    fn push(&mut self, taking: F) {
        self.held.push_back(taking);
    }

    /// How many more chunks the receiver may hold.
    fn room(&self) -> usize {
        self.width.saturating_sub(self.held.len())
    }

    /// If the window is full, waits until about half of its chunks have been processed.
    async fn make_room(&mut self) {
        while self.room() == 0 {
            let began = Instant::now();
            // Receivers process chunks in order, so when the last of these is done, all are.
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

    /// Waits until all chunks have been processed.
    async fn drain(&mut self) {
        if let Some(last) = self.held.drain(..).next_back() {
            last.await;
        }
    }
}
