//! What a process or shell has written, kept for reading again: a ring of bytes with a count.
//!
//! Positions count all bytes ever appended, of both streams together. Bytes past the bound push the oldest out.

use std::collections::VecDeque;

/// Which stream a byte came from. A terminal has one: [`Stream::Stdout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
}

/// A run of bytes of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// Of which stream.
    pub stream: Stream,
    /// The position of its first byte.
    pub seq: u64,
    /// The bytes.
    pub data: Vec<u8>,
}

/// What was kept from a position on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// The bytes, in the order they were read.
    pub chunks: Vec<Chunk>,
    /// The position to go on from.
    pub next_seq: u64,
    /// Bytes between the asked position and the first that is kept.
    pub truncated: u64,
}

/// What a run costs beside its bytes; counted, so that a process that writes single bytes to its streams in turn is
/// bounded too.
const RUN_COST: usize = size_of::<Run>();

/// The largest chunk that is given out, so that one read of a long log does not hold one huge buffer.
const CHUNK_BYTES: usize = 256 * 1024;

#[derive(Debug, Clone, Copy)]
struct Run {
    stream: Stream,
    length: usize,
}

/// The ring.
#[derive(Debug)]
pub struct OutputLog {
    bytes: VecDeque<u8>,
    runs: VecDeque<Run>,
    end: u64,
    limit: usize,
}

impl OutputLog {
    /// A ring that takes at most `limit` bytes of memory for what it keeps.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            bytes: VecDeque::new(),
            runs: VecDeque::new(),
            end: 0,
            limit,
        }
    }

    /// Appends bytes, and returns the position of the first.
    pub fn append(&mut self, stream: Stream, data: &[u8]) -> u64 {
        let seq = self.end;
        self.end += data.len() as u64;
        if data.is_empty() {
            return seq;
        }
        let kept = &data[data.len().saturating_sub(self.limit.saturating_sub(RUN_COST))..];
        if kept.len() < data.len() {
            self.bytes.clear();
            self.runs.clear();
        }
        if kept.is_empty() {
            return seq;
        }
        let is_new_run = self.runs.back().is_none_or(|run| run.stream != stream);
        let incoming = kept.len() + if is_new_run { RUN_COST } else { 0 };
        self.make_room(incoming);
        match self.runs.back_mut() {
            Some(run) if run.stream == stream => run.length += kept.len(),
            _ => self.runs.push_back(Run {
                stream,
                length: kept.len(),
            }),
        }
        self.bytes.extend(kept);
        seq
    }

    fn make_room(&mut self, incoming: usize) {
        let mut excess = (self.held() + incoming).saturating_sub(self.limit);
        let mut drop_bytes = 0;
        while excess > 0 {
            let Some(run) = self.runs.front_mut() else { break };
            if run.length > excess {
                run.length -= excess;
                drop_bytes += excess;
                break;
            }
            drop_bytes += run.length;
            excess = excess.saturating_sub(run.length + RUN_COST);
            self.runs.pop_front();
        }
        self.bytes.drain(..drop_bytes);
    }

    /// Bytes of memory that what is kept counts for.
    #[must_use]
    pub fn held(&self) -> usize {
        self.bytes.len() + self.runs.len() * RUN_COST
    }

    /// Forgets the bytes, not the count, and keeps none that come.
    pub fn forget(&mut self) {
        self.bytes = VecDeque::new();
        self.runs = VecDeque::new();
        self.limit = 0;
    }

    /// Gives back memory beyond what is kept.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.runs.shrink_to_fit();
    }

    /// What is kept from position `after` on; a position that is still to come gives nothing.
    #[must_use]
    pub fn read(&self, after: u64) -> Replay {
        let start = self.end - self.bytes.len() as u64;
        let from = after.clamp(start, self.end);
        let mut chunks = Vec::new();
        let mut seq = start;
        for run in &self.runs {
            let run_end = seq + run.length as u64;
            let mut position = seq.max(from);
            while position < run_end {
                let length = (run_end - position).min(CHUNK_BYTES as u64);
                let at = (position - start) as usize;
                chunks.push(Chunk {
                    stream: run.stream,
                    seq: position,
                    data: self.copy(at, length as usize),
                });
                position += length;
            }
            seq = run_end;
        }
        Replay {
            chunks,
            next_seq: self.end,
            truncated: start.saturating_sub(after),
        }
    }

    fn copy(&self, at: usize, length: usize) -> Vec<u8> {
        let (first, second) = self.bytes.as_slices();
        let mut data = Vec::with_capacity(length);
        if at < first.len() {
            data.extend_from_slice(&first[at..first.len().min(at + length)]);
        }
        let left = length - data.len();
        let at = (at + data.len()).saturating_sub(first.len());
        data.extend_from_slice(&second[at..at + left]);
        data
    }
}

#[cfg(test)]
mod tests {
    use super::Stream::{Stderr, Stdout};
    use super::*;

    fn text(replay: &Replay) -> String {
        replay
            .chunks
            .iter()
            .map(|chunk| String::from_utf8_lossy(&chunk.data).into_owned())
            .collect()
    }

    #[test]
    fn reads_start_at_any_byte() {
        let mut log = OutputLog::new(1000);
        log.append(Stdout, b"abc");
        log.append(Stderr, b"def");
        log.append(Stderr, b"ghi");
        for after in 0..=9 {
            let replay = log.read(after);
            assert_eq!(text(&replay), "abcdefghi"[after as usize..]);
            assert_eq!((replay.next_seq, replay.truncated), (9, 0));
        }
        assert_eq!(
            log.read(1).chunks[0],
            Chunk {
                stream: Stdout,
                seq: 1,
                data: b"bc".to_vec()
            }
        );
        assert_eq!(
            log.read(4).chunks[0],
            Chunk {
                stream: Stderr,
                seq: 4,
                data: b"efghi".to_vec()
            }
        );
        assert_eq!(
            log.read(100),
            Replay {
                chunks: vec![],
                next_seq: 9,
                truncated: 0
            }
        );
    }

    #[test]
    fn what_is_pushed_out_is_counted() {
        let mut log = OutputLog::new(10 + RUN_COST);
        for letter in b'a'..=b'z' {
            log.append(Stdout, &[letter]);
        }
        let replay = log.read(0);
        assert_eq!(text(&replay), "qrstuvwxyz");
        assert_eq!(replay.truncated, 16);
        assert_eq!(log.read(20).truncated, 0);
    }

    #[test]
    fn one_write_larger_than_the_ring_keeps_its_end() {
        let mut log = OutputLog::new(10 + RUN_COST);
        log.append(Stdout, b"first");
        assert_eq!(log.append(Stderr, &[b'x'; 100]), 5);
        let replay = log.read(0);
        assert_eq!(
            (text(&replay), replay.truncated, replay.next_seq),
            ("x".repeat(10), 95, 105)
        );
    }

    #[test]
    fn streams_in_turn_stay_within_the_bound() {
        let mut log = OutputLog::new(4096);
        for turn in 0..100_000 {
            log.append(if turn % 2 == 0 { Stdout } else { Stderr }, b"x");
        }
        assert!(log.held() <= 4096);
        let replay = log.read(0);
        assert_eq!(text(&replay).len() as u64 + replay.truncated, 100_000);
    }

    #[test]
    fn a_ring_of_nothing_keeps_nothing_and_counts_all() {
        let mut log = OutputLog::new(0);
        log.append(Stdout, b"gone");
        assert_eq!(
            log.read(0),
            Replay {
                chunks: vec![],
                next_seq: 4,
                truncated: 4
            }
        );
    }
}
