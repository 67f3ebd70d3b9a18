//! How busy the I/O thread is with reading.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// After a source was busy for the last time, no other counts as the only one for this long. Writers that share processors have turns of
/// milliseconds, and pauses of the reader would keep them from their turns.
const LATELY: Duration = Duration::from_millis(20);

/// Notes that much came from `source` just now. Returns whether no other source was as busy lately, so that the I/O thread, which is
/// the calling thread, may wait for it.
pub fn mark_busy(source: RawFd) -> bool {
    thread_local! {
        static LAST: Cell<Option<(RawFd, Instant)>> = const { Cell::new(None) };
    }
    let now = Instant::now();
    let last = LAST.replace(Some((source, now)));
    !last.is_some_and(|(other, when)| other != source && now - when < LATELY)
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    #[test]
    fn one_source_alone_has_the_thread_to_itself() {
        assert!(mark_busy(3));
        assert!(mark_busy(3));
        assert!(!mark_busy(4));
        assert!(!mark_busy(3));
        thread::sleep(LATELY);
        assert!(mark_busy(3));
    }
}
