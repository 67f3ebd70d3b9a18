//! The kernel's clocks as milliseconds since the Unix epoch.

use std::fs::File;
use std::io::Read;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use nix::time::{ClockId, clock_gettime};

use super::directory::ProcDirectory;

/// If the computed boot time differs from the previous one by this much, the clock was set; smaller differences are
/// measurement error.
const SET_MS: u64 = 1000;

/// When the machine was started. It stays the same between calls, so that a process's start time identifies the process
/// as well as the kernel's start time does, unless the clock was set meanwhile.
pub fn boot_time_ms() -> u64 {
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let uptime = clock_gettime(ClockId::CLOCK_BOOTTIME).map_or(0, |time| {
        time.tv_sec() as u64 * 1000 + time.tv_nsec() as u64 / 1_000_000
    });
    let looked = now_ms().saturating_sub(uptime);
    let known = KNOWN.load(Ordering::Relaxed);
    if known.abs_diff(looked) < SET_MS {
        return known;
    }
    KNOWN.store(looked, Ordering::Relaxed);
    looked
}

/// When a zombie last ran, which is when it ended. The kernel tells the exact time only to its parent. This time is the
/// scheduler's (`/proc/<pid>/sched`), whose clock is compared with this thread's entry. `None` if the kernel has no
/// such file.
pub fn last_ran_ms(directory: &ProcDirectory) -> Option<u64> {
    let last_ran = exec_start_ms(directory.file("sched").ok()?)?;
    // Updates this thread's own entry.
    std::thread::yield_now();
    let own = exec_start_ms(File::open("/proc/thread-self/sched").ok()?)?;
    Some(now_ms().saturating_sub((own - last_ran).max(0.0) as u64))
}

fn exec_start_ms(sched: File) -> Option<f64> {
    let mut text = String::new();
    sched.take(4096).read_to_string(&mut text).ok()?;
    let line = text.lines().find(|line| line.starts_with("se.exec_start"))?;
    line.rsplit(':').next()?.trim().parse().ok()
}

fn now_ms() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64)
}
