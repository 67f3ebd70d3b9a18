//! The kept output of a process or shell: a ring of bytes with a count.
//!
//! Positions count all bytes ever appended, of both streams together. Bytes beyond the bound remove the oldest ones.

use std::collections::VecDeque;
use std::ops::Range;

use bytes::{Buf, Bytes, BytesMut};

/// The stream that a byte came from. A terminal has only one: [`Stream::Stdout`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout,
    /// Standard error.
    Stderr,
    /// A pipe of that number. It has a log of its own.
    Descriptor(u8),
}

/// Consecutive bytes of one stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Chunk {
    /// The stream.
    pub stream: Stream,
    /// The position of its first byte.
    pub seq: u64,
    /// The bytes.
    pub data: Bytes,
}

/// The kept output from one position on.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Replay {
    /// The bytes, in the order they were read.
    pub chunks: Vec<Chunk>,
    /// The position after the last byte.
    pub next_seq: u64,
    /// How many bytes between the requested position and the first kept byte are lost.
    pub truncated: u64,
    /// Whether a stream was closed although processes might still have written to it.
    pub cut: bool,
}

/// The memory that a run uses in addition to its bytes. It counts, so that a process that writes single bytes to its
/// two streams in turn is bounded too.
const RUN_COST: usize = size_of::<Run>();

/// Smaller pieces are gathered into runs of about this size.
const GATHERED_BYTES: usize = 64 * 1024;

/// The smallest piece that is shared instead of copied. Copying a smaller piece costs less than keeping its buffer.
const SHARED_BYTES: usize = 8 * 1024;

/// The smallest ring that shares pieces. A shared piece keeps the whole buffer that it was read into, and fills at
/// least half of it: so a ring uses at most twice its size, and one buffer for its oldest piece.
const SHARING_LIMIT: usize = 1024 * 1024;

#[derive(Debug)]
struct Run {
    stream: Stream,
    bytes: Bytes,
}

/// The ring: runs from the oldest to the newest, then the bytes that are being gathered.
#[derive(Debug)]
pub struct OutputLog {
    runs: VecDeque<Run>,
    gathered: BytesMut,
    gathered_from: Stream,
    /// The number of all kept bytes.
    length: usize,
    end: u64,
    limit: usize,
    cut: bool,
}

impl OutputLog {
    /// A ring that uses at most `limit` bytes, including its own bookkeeping.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        Self {
            runs: VecDeque::new(),
            gathered: BytesMut::new(),
            gathered_from: Stream::Stdout,
            length: 0,
            end: 0,
            limit,
            cut: false,
        }
    }

    /// Appends bytes and returns the position of the first. A large piece is shared, so its buffer stays allocated
    /// while the piece is kept.
    pub fn append(&mut self, stream: Stream, data: &Bytes) -> u64 {
        let seq = self.end;
        self.end += data.len() as u64;
        let kept = data.slice(data.len().saturating_sub(self.limit.saturating_sub(RUN_COST))..);
        if kept.len() < data.len() {
            self.clear();
        }
        if kept.is_empty() {
            return seq;
        }
        let is_shared = kept.len() >= SHARED_BYTES && self.limit >= SHARING_LIMIT;
        let is_new_run = is_shared
            || self.gathered.is_empty()
            || self.gathered_from != stream
            || self.gathered.len() + kept.len() > GATHERED_BYTES;
        self.make_room(kept.len() + if is_new_run { RUN_COST } else { 0 });
        if is_new_run {
            self.seal();
        }
        self.length += kept.len();
        if is_shared {
            self.runs.push_back(Run { stream, bytes: kept });
        } else {
            self.gathered_from = stream;
            self.gathered.extend_from_slice(&kept);
        }
        seq
    }

    fn make_room(&mut self, incoming: usize) {
        let mut excess = (self.held() + incoming).saturating_sub(self.limit);
        while excess > 0 {
            let Some(run) = self.runs.front_mut() else {
                let dropped = excess.min(self.gathered.len());
                self.gathered.advance(dropped);
                self.length -= dropped;
                return;
            };
            if run.bytes.len() > excess {
                run.bytes.advance(excess);
                self.length -= excess;
                return;
            }
            self.length -= run.bytes.len();
            excess = excess.saturating_sub(run.bytes.len() + RUN_COST);
            self.runs.pop_front();
        }
    }

    /// Makes a run of the gathered bytes.
    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.runs.push_back(Run {
                stream: self.gathered_from,
                bytes: self.gathered.split().freeze(),
            });
        }
    }

    fn clear(&mut self) {
        self.runs = VecDeque::new();
        self.gathered = BytesMut::new();
        self.length = 0;
    }

    /// The number of kept bytes and of the bookkeeping for them.
    #[must_use]
    pub fn held(&self) -> usize {
        let runs = self.runs.len() + usize::from(!self.gathered.is_empty());
        self.length + runs * RUN_COST
    }

    /// The positions of the kept bytes.
    #[must_use]
    pub fn kept(&self) -> Range<u64> {
        self.end - self.length as u64..self.end
    }

    /// Records that a stream was closed although processes might still have written to it.
    pub fn cut(&mut self) {
        self.cut = true;
    }

    /// Drops the kept bytes but not their count, and keeps no later ones.
    pub fn forget(&mut self) {
        self.clear();
        self.limit = 0;
    }

    /// Moves the kept bytes to memory of exactly their size.
    pub fn shrink(&mut self) {
        self.seal();
        let mut whole = BytesMut::with_capacity(self.length);
        for run in &mut self.runs {
            whole.extend_from_slice(&run.bytes);
            run.bytes = whole.split().freeze();
        }
        self.runs.shrink_to_fit();
        self.gathered = BytesMut::new();
    }

    /// The number of bytes so far.
    #[must_use]
    pub fn end(&self) -> u64 {
        self.end
    }

    /// The kept output from position `after` on; empty if that position has not been reached yet.
    #[must_use]
    pub fn read(&self, after: u64) -> Replay {
        let start = self.end - self.length as u64;
        let from = after.clamp(start, self.end);
        let mut chunks = Vec::new();
        let mut seq = start;
        let runs = self.runs.iter().map(|run| (run.stream, run.bytes.clone()));
        let gathered = (self.gathered_from, Bytes::copy_from_slice(&self.gathered));
        for (stream, mut data) in runs.chain([gathered]) {
            let run_end = seq + data.len() as u64;
            data.advance(data.len().min(from.saturating_sub(seq) as usize));
            if !data.is_empty() {
                let seq = run_end - data.len() as u64;
                chunks.push(Chunk { stream, seq, data });
            }
            seq = run_end;
        }
        Replay {
            chunks,
            next_seq: self.end,
            truncated: start.saturating_sub(after),
            cut: self.cut,
        }
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
        log.append(Stdout, &Bytes::from_static(b"abc"));
        log.append(Stderr, &Bytes::from_static(b"def"));
        log.append(Stderr, &Bytes::from_static(b"ghi"));
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
                data: Bytes::from_static(b"bc")
            }
        );
        assert_eq!(
            log.read(4).chunks[0],
            Chunk {
                stream: Stderr,
                seq: 4,
                data: Bytes::from_static(b"efghi")
            }
        );
        assert_eq!(
            log.read(100),
            Replay {
                chunks: vec![],
                next_seq: 9,
                truncated: 0,
                cut: false,
            }
        );
    }

    #[test]
    fn what_is_pushed_out_is_counted() {
        let mut log = OutputLog::new(10 + RUN_COST);
        for letter in b'a'..=b'z' {
            log.append(Stdout, &vec![letter].into());
        }
        let replay = log.read(0);
        assert_eq!(text(&replay), "qrstuvwxyz");
        assert_eq!(replay.truncated, 16);
        assert_eq!(log.read(20).truncated, 0);
    }

    #[test]
    fn one_write_larger_than_the_ring_keeps_its_end() {
        let mut log = OutputLog::new(10 + RUN_COST);
        log.append(Stdout, &Bytes::from_static(b"first"));
        assert_eq!(log.append(Stderr, &vec![b'x'; 100].into()), 5);
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
            log.append(
                if turn % 2 == 0 { Stdout } else { Stderr },
                &Bytes::from_static(b"x"),
            );
        }
        assert!(log.held() <= 4096);
        let replay = log.read(0);
        assert_eq!(text(&replay).len() as u64 + replay.truncated, 100_000);
    }

    #[test]
    fn a_ring_of_nothing_keeps_nothing_and_counts_all() {
        let mut log = OutputLog::new(0);
        log.append(Stdout, &Bytes::from_static(b"gone"));
        assert_eq!(
            log.read(0),
            Replay {
                chunks: vec![],
                next_seq: 4,
                truncated: 4,
                cut: false,
            }
        );
    }

    /// Compares a ring that shares some pieces, with pieces of all sizes, to a ring that copies all of them.
    #[test]
    fn pieces_of_any_size_are_read_back_as_they_came() {
        for limit in [SHARING_LIMIT - 1, SHARING_LIMIT, 3 * SHARING_LIMIT] {
            let mut log = OutputLog::new(limit);
            let mut all = Vec::new();
            for turn in 0..400_usize {
                let length = [1, 70, SHARED_BYTES - 1, SHARED_BYTES, 30_000, GATHERED_BYTES][turn * 7 % 6];
                let data: Bytes = (0..length).map(|at| (at + turn * 31) as u8).collect();
                let stream = if turn % 5 == 0 { Stderr } else { Stdout };
                assert_eq!(log.append(stream, &data), all.len() as u64);
                all.extend(data.iter().map(|byte| (stream, *byte)));
                assert!(log.held() <= limit);
                if turn == 200 {
                    log.shrink();
                }
            }
            let oldest = log.read(0).truncated as usize;
            // The ring keeps as many bytes as fit, less the bookkeeping of its runs.
            assert!(all.len() - oldest > limit - 400 * RUN_COST);
            for after in [0, oldest, oldest + 1, oldest + 40_000, all.len() - 1] {
                let replay = log.read(after as u64);
                let from = after.max(oldest);
                assert_eq!(replay.chunks[0].seq as usize, from);
                let read: Vec<_> = replay
                    .chunks
                    .iter()
                    .flat_map(|chunk| chunk.data.iter().map(|byte| (chunk.stream, *byte)))
                    .collect();
                assert!(read == all[from..], "from {after} on, of {}", all.len());
            }
        }
    }
}
