//! Everything that runs in a VM, read from the VM's own `/proc` through the descriptor that init handed over.
//!
//! Read by the host, not by init: a process whose command line is slow to read (it lies in memory backed by a slow file)
//! holds up nothing but the caller.

mod clock;
mod command;

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use procfs::WithCurrentSystemInfo;
use procfs::process::{ProcState, Process, Stat};

use self::command::{Allowance, Command};

/// A process.
#[derive(Debug, Clone)]
pub struct ProcessInfo {
    /// In the VM.
    pub pid: u32,
    /// 0 for those without a parent in the VM.
    pub ppid: u32,
    /// Its group.
    pub pgid: i32,
    /// Its session.
    pub sid: i32,
    /// The runtime that it runs on.
    pub driver: &'static str,
    /// As it was started, without its folder.
    pub command: String,
    /// Its arguments; cut off where they are very long.
    pub args: Vec<String>,
    /// Its working directory, or nothing where that cannot be read.
    pub cwd: String,
    /// Whether it runs, is stopped, or waits to be reaped.
    pub status: Status,
    /// As a shell reports it, for one that has exited.
    pub exit_code: Option<i32>,
    /// Milliseconds since the Unix epoch.
    pub start_time_ms: u64,
    /// Likewise, for one that has exited, where the kernel tells.
    pub exit_time_ms: Option<u64>,
    /// Resident memory, bytes.
    pub rss_bytes: u64,
    /// Processor time, ms.
    pub cpu_ms: u64,
}

/// What a process does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Runs, or waits for something.
    Running,
    /// By a signal or a debugger.
    Stopped,
    /// A zombie.
    Exited,
}

/// The process table, by pid; nothing if init is gone, and with it the VM. `init` is init's pid in that `/proc`, and
/// `deputy` its deputy's, which are not listed; `whole` says that the table is the VM's own, else only what descends from init is of the VM.
pub fn read(proc_fd: &OwnedFd, init: i32, deputy: Option<i32>, whole: bool) -> Option<Vec<ProcessInfo>> {
    let root = PathBuf::from(format!("/proc/self/fd/{}", proc_fd.as_raw_fd()));
    let mut pids: Vec<i32> = std::fs::read_dir(&root)
        .ok()?
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != init && Some(*pid) != deputy)
        .collect();
    pids.sort_unstable();
    let mut found: Vec<(Stat, Process)> = pids.iter().filter_map(|pid| open(&root, *pid)).collect();
    // Looked at last: while it lives, so does all that was found.
    let (init_stat, _) = open(&root, init)?;
    if is_headless(&init_stat) {
        return None;
    }
    if !whole {
        keep_descendants(&mut found, init);
    }
    let boot_ms = clock::boot_time_ms();
    let mut allowance = Allowance::default();
    let described = found
        .into_iter()
        .map(|(stat, process)| describe(&root, &stat, process, init, boot_ms, &mut allowance));
    Some(described.collect())
}

/// A process that ends while it is looked at is not in the table.
fn open(root: &Path, pid: i32) -> Option<(Stat, Process)> {
    let process = Process::new_with_root(root.join(pid.to_string())).ok()?;
    Some((process.stat().ok()?, process))
}

fn keep_descendants(found: &mut Vec<(Stat, Process)>, init: i32) {
    let mut children: HashMap<i32, Vec<i32>> = HashMap::new();
    for (stat, _) in found.iter() {
        children.entry(stat.ppid).or_default().push(stat.pid);
    }
    let mut family = HashSet::new();
    let mut next = vec![init];
    while let Some(parent) = next.pop() {
        let born = children.get(&parent).into_iter().flatten();
        next.extend(born.filter(|&&child| family.insert(child)));
    }
    found.retain(|(stat, _)| family.contains(&stat.pid));
}

/// Whether a process's first thread has ended.
fn is_headless(stat: &Stat) -> bool {
    matches!(stat.state(), Ok(ProcState::Zombie | ProcState::Dead))
}

fn describe(
    root: &Path,
    stat: &Stat,
    process: Process,
    init: i32,
    boot_ms: u64,
    allowance: &mut Allowance,
) -> ProcessInfo {
    let (status, process) = match stat.state() {
        Ok(ProcState::Stopped | ProcState::Tracing) => (Status::Stopped, process),
        // The others live on, and what the first no longer tells, they do.
        _ if is_headless(stat) && stat.num_threads > 1 => {
            let other = other_thread(root, &process);
            (Status::Running, other.unwrap_or(process))
        }
        _ if is_headless(stat) => (Status::Exited, process),
        _ => (Status::Running, process),
    };
    let executable = process.exe().ok();
    let executable = executable.as_ref().map(|path| path.to_string_lossy());
    let executable = executable.as_deref();
    let Command { name, arguments } = command::command(&allowance.read(&process), &stat.comm, executable);
    let memory = match status {
        Status::Running if is_headless(stat) => process.stat().ok(),
        _ => None,
    };
    let ticks = procfs::ticks_per_second().max(1);
    let start_time_ms = boot_ms + stat.starttime * 1000 / ticks;
    let has_exited = status == Status::Exited;
    ProcessInfo {
        pid: stat.pid as u32,
        ppid: if stat.ppid == init { 0 } else { stat.ppid as u32 },
        pgid: stat.pgrp,
        sid: stat.session,
        driver: command::driver(executable.unwrap_or(&name)),
        command: name,
        args: arguments,
        cwd: process
            .cwd()
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        status,
        exit_code: has_exited.then(|| exit_code(stat.exit_code.unwrap_or(0))),
        start_time_ms,
        exit_time_ms: if has_exited {
            clock::last_ran_ms(&process).map(|time| time.max(start_time_ms))
        } else {
            None
        },
        rss_bytes: memory.as_ref().unwrap_or(stat).rss_bytes().get(),
        cpu_ms: (stat.utime + stat.stime) * 1000 / ticks,
    }
}

/// A thread other than the first, as if it were a process: its folder in `/proc` holds the same files.
fn other_thread(root: &Path, process: &Process) -> Option<Process> {
    let mut threads = process.tasks().ok()?.flatten();
    let other = threads.find(|thread| thread.tid != thread.pid)?;
    Process::new_with_root(root.join(format!("{}/task/{}", other.pid, other.tid))).ok()
}

/// A wait status (`wait(2)`) as a shell reports it.
fn exit_code(wait: i32) -> i32 {
    let signal = wait & 0x7f;
    if signal == 0 {
        (wait >> 8) & 0xff
    } else {
        128 + signal
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn wait_statuses_are_as_a_shell_says() {
        assert_eq!((exit_code(0x0300), exit_code(9), exit_code(0x8b)), (3, 137, 139));
    }
}
