//! Pipes of a program beside its standard descriptors.

use std::ops::RangeInclusive;

use serde::{Deserialize, Serialize};

/// The numbers that such pipes may have in the program.
pub const PIPE_NUMBERS: RangeInclusive<u8> = 3..=9;

/// In which direction a program uses a pipe.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PipeDirection {
    /// The program reads from it.
    Input,
    /// The program writes to it.
    Output,
}

/// At most one pipe for each of the [`PIPE_NUMBERS`].
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MorePipes {
    /// Bit `n` is set if the program reads from number `n`.
    inputs: u16,
    /// The same for the numbers that it writes to.
    outputs: u16,
}

impl MorePipes {
    /// With another pipe. A number that is not one of the [`PIPE_NUMBERS`] gets none.
    #[must_use]
    pub fn with(mut self, number: u8, direction: PipeDirection) -> Self {
        if PIPE_NUMBERS.contains(&number) {
            let bit = 1 << number;
            self.inputs &= !bit;
            self.outputs &= !bit;
            match direction {
                PipeDirection::Input => self.inputs |= bit,
                PipeDirection::Output => self.outputs |= bit,
            }
        }
        self
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.iter().next().is_none()
    }

    /// The pipes by ascending number.
    pub fn iter(self) -> impl Iterator<Item = (u8, PipeDirection)> {
        PIPE_NUMBERS.filter_map(move |number| {
            let bit = 1 << number;
            if self.inputs & bit != 0 {
                Some((number, PipeDirection::Input))
            } else if self.outputs & bit != 0 {
                Some((number, PipeDirection::Output))
            } else {
                None
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_has_one_pipe_and_other_numbers_have_none() {
        let pipes = (0..=200).fold(MorePipes::default(), |pipes, number| {
            pipes.with(number, PipeDirection::Input)
        });
        let numbers: Vec<u8> = pipes.iter().map(|(number, _)| number).collect();
        assert_eq!(numbers, [3, 4, 5, 6, 7, 8, 9]);
        let pipes = MorePipes::default()
            .with(3, PipeDirection::Input)
            .with(3, PipeDirection::Output);
        assert_eq!(pipes.iter().collect::<Vec<_>>(), [(3, PipeDirection::Output)]);
        assert!(MorePipes::default().with(2, PipeDirection::Output).is_empty());
    }
}
