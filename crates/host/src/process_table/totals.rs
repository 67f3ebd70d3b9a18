//! What the living processes of a VM use together.

use std::io::{self, Read};
use std::os::fd::OwnedFd;

use agent_vm_proc_stat::{STAT_BYTES, Stat};
use nix::unistd::SysconfVar;

use super::directory::ProcDirectory;
use super::members::members;
use super::{open, system, unless_gone};

/// What the living processes of a VM use together.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Totals {
    /// How many there are, with those that have ended and are not reaped.
    pub processes: u64,
    /// The processor time that they, and the children that they have waited for, have used, in microseconds.
    pub cpu_us: u64,
    /// Their resident memory in bytes.
    pub memory_bytes: u64,
}

/// Adds up the VM's processes, which are [`members`] with the same arguments. Reads nothing that a program can keep locked.
///
/// No time is added twice: a process that waits for another one adds that one's time to its own, and is read before it,
/// because it started before it.
pub fn totals(proc_fd: &OwnedFd, init: i32, helpers: &[u32], whole: bool) -> io::Result<Option<Totals>> {
    let Some(members) = members(proc_fd, init, helpers, whole)? else {
        return Ok(None);
    };
    let us_of_tick = 1_000_000 / system(SysconfVar::CLK_TCK);
    let page = system(SysconfVar::PAGE_SIZE);
    let mut totals = Totals::default();
    let mut buffer = [0; STAT_BYTES];
    for member in members {
        let Some((stat, directory)) = open(proc_fd, member.pid, &mut buffer)? else {
            continue;
        };
        if stat.start != member.start {
            continue;
        }
        let ticks = [stat.utime, stat.stime, stat.children_utime, stat.children_stime];
        totals.processes += 1;
        totals.cpu_us += ticks.iter().sum::<u64>() * us_of_tick;
        totals.memory_bytes += rss(&stat, &directory) * page;
    }
    Ok(Some(totals))
}

/// The resident pages. A process whose first thread has ended has them in another thread's file.
fn rss(stat: &Stat<'_>, directory: &ProcDirectory) -> u64 {
    if !stat.is_headless() || stat.threads <= 1 {
        return stat.rss;
    }
    let mut buffer = [0; STAT_BYTES];
    let other = directory.other_thread(stat.pid);
    let other = other.and_then(|thread| Stat::parse(thread.stat(&mut buffer).ok()?).map(|stat| stat.rss));
    other.unwrap_or(0)
}

/// The processor time of processes with one thread each, in microseconds. `None` if the kernel does not report it exactly.
pub fn exact_time_us(proc_fd: &OwnedFd, pids: &[u32]) -> Option<u64> {
    let mut total = 0;
    for pid in pids {
        let opened = unless_gone(ProcDirectory::open(proc_fd, i32::try_from(*pid).ok()?)).ok()?;
        // Init has reaped it, and counts it.
        let Some(directory) = opened else { continue };
        let mut text = String::new();
        match directory.file("schedstat") {
            Ok(file) => drop(file.take(256).read_to_string(&mut text).ok()?),
            Err(_) if unless_gone(directory.file("stat")).ok()?.is_none() => continue,
            Err(_) => return None,
        }
        let nanoseconds: u64 = text.split_whitespace().next()?.parse().ok()?;
        total += nanoseconds / 1000;
    }
    Some(total)
}
