//! What a screen has still to draw.

use std::collections::VecDeque;

use bytes::{Bytes, BytesMut};

use super::size::Size;

/// While this much waits, the terminal is not read further.
pub const FULL: usize = 64 * 1024;

/// The most resizes that wait. Then the newest of them takes the place of the one before.
const MAX_RESIZES: usize = 1024;

/// Smaller pieces are gathered up to this size. A larger one is shared, which keeps the buffer that it was read into.
const GATHERED: usize = 8192;

/// What a terminal brings its screen.
#[derive(Debug, PartialEq, Eq)]
pub enum Step {
    /// Bytes to draw.
    Output(Bytes),
    /// A new size.
    Resize(Size),
}

/// Steps in their order.
#[derive(Debug, Default)]
pub struct Backlog {
    steps: VecDeque<Step>,
    /// The newest output, after all steps.
    gathered: BytesMut,
    bytes: usize,
    resizes: usize,
}

impl Backlog {
    /// How many bytes wait.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Adds output.
    pub fn add_output(&mut self, data: Bytes) {
        self.bytes += data.len();
        if self.gathered.len() + data.len() > GATHERED {
            self.seal();
        }
        if data.len() >= GATHERED {
            self.steps.push_back(Step::Output(data));
        } else {
            self.gathered.extend_from_slice(&data);
        }
    }

    /// Adds a resize. Returns false if another one was left out for it.
    pub fn add_resize(&mut self, size: Size) -> bool {
        if self.resizes >= MAX_RESIZES {
            let last = self.steps.iter_mut().rev().find_map(|step| match step {
                Step::Resize(last) => Some(last),
                Step::Output(_) => None,
            });
            if let Some(last) = last {
                *last = size;
            }
            return false;
        }
        self.seal();
        self.resizes += 1;
        self.steps.push_back(Step::Resize(size));
        true
    }

    /// The next step.
    pub fn next(&mut self) -> Option<Step> {
        if self.steps.is_empty() {
            self.seal();
        }
        let step = self.steps.pop_front()?;
        match &step {
            Step::Output(data) => self.bytes -= data.len(),
            Step::Resize(_) => self.resizes -= 1,
        }
        Some(step)
    }

    /// Makes a step of the gathered output.
    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.steps.push_back(Step::Output(self.gathered.split().freeze()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn size(cols: u16) -> Size {
        Size { cols, rows: 24 }
    }

    #[test]
    fn output_and_resizes_keep_their_order() {
        let mut backlog = Backlog::default();
        backlog.add_output(Bytes::from_static(b"a"));
        backlog.add_output(Bytes::from_static(b"b"));
        assert!(backlog.add_resize(size(10)));
        backlog.add_output(Bytes::from_static(b"c"));
        backlog.add_output(vec![b'd'; GATHERED].into());
        assert_eq!(backlog.bytes(), 3 + GATHERED);
        let steps: Vec<_> = std::iter::from_fn(|| backlog.next()).collect();
        assert_eq!(
            steps,
            [
                Step::Output(Bytes::from_static(b"ab")),
                Step::Resize(size(10)),
                Step::Output(Bytes::from_static(b"c")),
                Step::Output(vec![b'd'; GATHERED].into()),
            ]
        );
        assert_eq!(backlog.bytes(), 0);
    }

    #[test]
    fn resizes_without_end_stay_few_and_the_newest_counts() {
        let mut backlog = Backlog::default();
        for turn in 0..100_000_u32 {
            backlog.add_resize(size((turn % 500) as u16));
        }
        backlog.add_resize(size(777));
        let steps: Vec<_> = std::iter::from_fn(|| backlog.next()).collect();
        assert_eq!(steps.len(), MAX_RESIZES);
        assert_eq!(steps.last(), Some(&Step::Resize(size(777))));
    }
}
