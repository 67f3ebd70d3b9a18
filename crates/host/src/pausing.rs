//! What the calls that pause and resume a VM have decided.

use parking_lot::Mutex;

use crate::error::Error;

/// What the calls of a VM have decided, and what of it is done.
#[derive(Debug, Default)]
pub(crate) struct Pausing {
    pub turns: Mutex<Turns>,
    /// Held while init is asked, so that nothing is asked that a later call has revoked.
    pub asking: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
pub(crate) struct Turns {
    /// The number of the last call that decided.
    pub last: u64,
    pub wish: Wish,
    /// The last call that let everything run, with success.
    pub thawed: u64,
}

/// The decision of the last call.
#[derive(Debug, Default)]
pub(crate) enum Wish {
    #[default]
    Run,
    Freeze,
    /// To run, because not everything could be frozen.
    Failed(Error),
}

impl Turns {
    pub fn take(&mut self, wish: Wish) -> u64 {
        self.wish = wish;
        self.last += 1;
        self.last
    }

    /// Takes a turn to let everything run, unless everything is known to run.
    pub fn take_to_run(&mut self) -> Option<u64> {
        (self.thawed < self.last).then(|| self.take(Wish::Run))
    }

    /// Takes a turn after the pause with the number `turn` failed, unless a later call has decided.
    pub fn take_after_failure(&mut self, turn: u64, error: &Error) -> Option<u64> {
        (self.last == turn).then(|| self.take(Wish::Failed(error.clone())))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_is_let_run_until_that_succeeds() {
        let mut turns = Turns::default();
        assert_eq!(turns.take_to_run(), None);
        turns.take(Wish::Freeze);
        assert_eq!(turns.take_to_run(), Some(2));
        // That failed.
        assert_eq!(turns.take_to_run(), Some(3));
        turns.thawed = 3;
        assert_eq!(turns.take_to_run(), None);
    }

    #[test]
    fn a_failed_pause_decides_only_if_it_is_the_last_call() {
        let mut turns = Turns::default();
        let (first, second) = (turns.take(Wish::Freeze), turns.take(Wish::Freeze));
        assert_eq!(turns.take_after_failure(first, &Error::Aborted), None);
        assert!(matches!(turns.wish, Wish::Freeze));
        let third = turns.take_after_failure(second, &Error::Aborted);
        assert_eq!(third, Some(3));
        assert_eq!(turns.take_to_run(), Some(4));
    }
}
