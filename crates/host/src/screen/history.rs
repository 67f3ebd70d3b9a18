//! The sizes that a terminal has had, for a screen that is built later.

use std::collections::VecDeque;

/// The most changes that are remembered. Beyond that, the oldest is forgotten.
const MAX_CHANGES: usize = 1024;

/// A size, and the position in the output from which on the terminal had it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// The position.
    pub seq: u64,
    /// The number of columns.
    pub cols: u16,
    /// The number of rows.
    pub rows: u16,
}

/// The sizes of one terminal, in order. The first is the one that it has had from the oldest remembered position on.
#[derive(Debug, Clone)]
pub struct SizeHistory {
    changes: VecDeque<Change>,
    complete: bool,
}

impl SizeHistory {
    /// Of a terminal that has just been opened.
    pub fn new(cols: u16, rows: u16) -> Self {
        Self {
            changes: VecDeque::from([Change { seq: 0, cols, rows }]),
            complete: true,
        }
    }

    /// Adds a change at position `seq`; the output before `kept_from` is no longer kept.
    pub fn add(&mut self, change: Change, kept_from: u64) {
        self.changes.push_back(change);
        while self
            .changes
            .get(1)
            .is_some_and(|next| next.seq <= kept_from && kept_from > 0)
        {
            self.changes.pop_front();
        }
        if self.changes.len() > MAX_CHANGES {
            self.changes.pop_front();
            self.complete = false;
        }
    }

    /// The size now.
    pub fn current(&self) -> (u16, u16) {
        self.changes.back().map_or((0, 0), |last| (last.cols, last.rows))
    }

    /// The changes, from the one that held at position `from` on, and whether they are all.
    pub fn since(&self, from: u64) -> (impl Iterator<Item = Change>, bool) {
        let first = if from == 0 {
            0
        } else {
            self.changes
                .iter()
                .rposition(|change| change.seq <= from)
                .unwrap_or(0)
        };
        (self.changes.range(first..).copied(), self.complete)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(seq: u64, cols: u16) -> Change {
        Change { seq, cols, rows: 24 }
    }

    #[test]
    fn what_no_kept_output_needs_is_forgotten() {
        let mut history = SizeHistory::new(80, 24);
        for turn in 1..=1000 {
            history.add(change(turn * 10, turn as u16), 0);
        }
        assert_eq!(history.since(0).0.count(), 1001);
        history.add(change(20_000, 7), 9_995);
        let (changes, complete) = history.since(9_995);
        assert_eq!(
            changes.collect::<Vec<_>>(),
            [change(9_990, 999), change(10_000, 1000), change(20_000, 7)]
        );
        assert!(complete);
        assert_eq!(history.current(), (7, 24));
    }

    #[test]
    fn changes_without_output_are_bounded() {
        let mut history = SizeHistory::new(80, 24);
        for turn in 0..100_000_u32 {
            history.add(change(5, (turn % 100) as u16), 0);
        }
        let (changes, complete) = history.since(0);
        assert_eq!((changes.count(), complete), (MAX_CHANGES, false));
    }
}
