//! Records how busy the I/O thread is with reading.

use std::cell::Cell;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

/// After a source was busy, no other source counts as the only busy one for this long. Writers that share processors
/// run in turns of milliseconds; a reader that waited for one source in between would delay the others.
const LATELY: Duration = Duration::from_millis(20);

/// Records that `source` just produced much data. Returns whether no other source was as busy lately, so that the I/O
/// thread, which calls this, may wait for `source`.
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
