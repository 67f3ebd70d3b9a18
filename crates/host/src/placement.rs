//! Chooses the processor of the I/O thread while it reads as fast as a program writes.
//!
//! Reader and writer use the pipe in turns, so they can share a processor without loss, and find each other's memory in
//! its cache. The thread that receives the output works at the same time and should have another processor. The
//! scheduler sees three threads that wake each other and may leave all of them on one processor, because it counts a
//! halted processor of a virtual machine as busy; this halves the speed.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use nix::sched::{sched_getaffinity, sched_getcpu, sched_setaffinity};
use nix::unistd::Pid;
use parking_lot::Mutex;

/// The minimum time between two moves, since a move costs about 20 µs.
const PAUSE: Duration = Duration::from_micros(500);

/// The processor on which a receiver last ran.
static RECEIVER: AtomicUsize = AtomicUsize::new(usize::MAX);

/// Records that the calling thread receives what the I/O thread reads.
pub fn receive_here() {
    if let Ok(here) = sched_getcpu() {
        RECEIVER.store(here, Ordering::Relaxed);
    }
}

/// Moves the calling thread to another processor if a receiver last ran on this one, and the thread may use another.
/// Afterwards the thread may use the same processors as before, so it can be moved back. (If the server is given more
/// processors later, this thread does not use those.)
pub(crate) fn keep_apart() {
    static MOVED: Mutex<Option<Instant>> = Mutex::new(None);
    let Ok(here) = sched_getcpu() else { return };
    if here != RECEIVER.load(Ordering::Relaxed) {
        return;
    }
    let mut moved = MOVED.lock();
    if moved.is_some_and(|moved| moved.elapsed() < PAUSE) {
        return;
    }
    *moved = Some(Instant::now());
    let this_thread = Pid::from_raw(0);
    let Ok(allowed) = sched_getaffinity(this_thread) else {
        return;
    };
    let mut others = allowed;
    // The kernel refuses if no processor is left that the thread may use: then the thread stays.
    if others.unset(here).is_ok() && sched_setaffinity(this_thread, &others).is_ok() {
        let _same_as_before = sched_setaffinity(this_thread, &allowed);
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, reason = "a test may end with a panic")]
mod tests {
    use super::*;
    use nix::sched::CpuSet;

    #[test]
    fn a_thread_is_moved_and_may_run_where_it_might_before() {
        let this_thread = Pid::from_raw(0);
        let before = sched_getaffinity(this_thread).unwrap();
        // The scheduler may move it back before the check, so this is repeated.
        let moved = (0..100).any(|_| {
            std::thread::sleep(PAUSE);
            let here = sched_getcpu().unwrap();
            RECEIVER.store(here, Ordering::Relaxed);
            keep_apart();
            let there = sched_getcpu().unwrap();
            assert_eq!(sched_getaffinity(this_thread).unwrap(), before);
            there != here
        });
        let processors = (0..CpuSet::count()).filter(|at| before.is_set(*at).unwrap());
        assert_eq!(moved, processors.count() > 1);

        let mut one = CpuSet::new();
        let here = sched_getcpu().unwrap();
        RECEIVER.store(here, Ordering::Relaxed);
        one.set(here).unwrap();
        sched_setaffinity(this_thread, &one).unwrap();
        std::thread::sleep(PAUSE);
        keep_apart();
        assert_eq!(sched_getaffinity(this_thread).unwrap(), one);
        assert_eq!(sched_getcpu().unwrap(), here);
    }
}
