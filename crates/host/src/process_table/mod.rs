//! The processes that run in a VM, read from the VM's own `/proc` through a descriptor that init sent.
//!
//! The host reads them, not init: a process whose command line is slow to read (its memory may map a slow file) delays
//! only the caller.

mod clock;
mod command_line;

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};

use procfs::process::{ProcState, Process, Stat};
use procfs::{FromRead, ProcError, ProcResult, WithCurrentSystemInfo};

pub use self::command_line::{CommandLine, parse_command_line};

use self::command_line::Allowance;

/// A process.
#[derive(Debug, Clone)]
pub struct ProcessInfo {
    /// Its pid in the VM.
    pub pid: u32,
    /// Its parent's pid; 0 if the parent is not in the VM.
    pub ppid: u32,
    /// Its process group.
    pub pgid: i32,
    /// Its session.
    pub sid: i32,
    /// The runtime that it runs on.
    pub driver: &'static str,
    /// The name that it was started with, without its directory.
    pub command: String,
    /// Its arguments; truncated if they are very long.
    pub args: Vec<String>,
    /// Its working directory; empty if it cannot be read.
    pub cwd: String,
    /// Whether it runs, is stopped, or has exited.
    pub status: Status,
    /// Its exit code as a shell reports it, if it has exited.
    pub exit_code: Option<i32>,
    /// When it started, in milliseconds since the Unix epoch.
    pub start_time_ms: u64,
    /// When it exited, in milliseconds since the Unix epoch, if the kernel reports it.
    pub exit_time_ms: Option<u64>,
    /// Its resident memory in bytes.
    pub rss_bytes: u64,
    /// The processor time that it has used, in milliseconds.
    pub cpu_ms: u64,
}

/// The state of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Status {
    /// Runs, or waits for an event.
    Running,
    /// Stopped by a signal or a debugger.
    Stopped,
    /// A zombie, not reaped yet.
    Exited,
}

/// The process table, by pid; `None` if init, and with it the VM, is gone. `init` and `deputy` are pids in this
/// `/proc`, and these two are not listed. If `whole`, the `/proc` contains only the VM's processes; otherwise only the
/// descendants of init belong to the VM. Fails if the server has no free descriptor.
pub fn read(
    proc_fd: &OwnedFd,
    init: i32,
    deputy: Option<i32>,
    whole: bool,
) -> io::Result<Option<Vec<ProcessInfo>>> {
    let root = PathBuf::from(format!("/proc/self/fd/{}", proc_fd.as_raw_fd()));
    let Some(entries) = unless_gone(std::fs::read_dir(&root).map_err(Into::into))? else {
        return Ok(None);
    };
    let mut pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != init && Some(*pid) != deputy)
        .collect();
    pids.sort_unstable();
    let family = if whole {
        None
    } else {
        Some(descendants(&root, &pids, init)?)
    };
    let boot_ms = clock::boot_time_ms();
    let mut allowance = Allowance::default();
    let mut found = Vec::with_capacity(pids.len());
    for pid in pids {
        // Open one process at a time: a VM may have more processes than the server has descriptors.
        let Some((stat, process)) = open(&root, pid)? else {
            continue;
        };
        let is_ours = match &family {
            // Another process may have this pid by now.
            Some(family) => family.get(&pid) == Some(&stat.starttime),
            None => true,
        };
        if is_ours {
            found.push(describe(&root, &stat, process, init, boot_ms, &mut allowance)?);
        }
    }
    // Checked last: while init lives, everything found before was the VM's.
    let init = open(&root, init)?;
    Ok(init.is_some_and(|(stat, _)| !is_headless(&stat)).then_some(found))
}

/// `None` if the process has ended meanwhile. Having no free descriptor is an error.
fn unless_gone<T>(looked: ProcResult<T>) -> io::Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(ProcError::Io(error, _)) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => {
            Err(error)
        }
        Err(_) => Ok(None),
    }
}

/// A process that ends while it is read is not listed.
fn open(root: &Path, pid: i32) -> io::Result<Option<(Stat, Process)>> {
    unless_gone(
        Process::new_with_root(root.join(pid.to_string())).and_then(|process| Ok((stat(&process)?, process))),
    )
}

/// Reads `/proc/<pid>/stat` in a single read: the kernel produces all of it at once (`seq_file`), and a second read for
/// its end would cost as much.
fn stat(process: &Process) -> ProcResult<Stat> {
    let mut text = [0; 4096];
    let length = process.open_relative("stat")?.read(&mut text)?;
    Stat::from_read(&text[..length])
}

/// The descendants of init, with their start times.
fn descendants(root: &Path, pids: &[i32], init: i32) -> io::Result<HashMap<i32, u64>> {
    let mut children: HashMap<i32, Vec<Stat>> = HashMap::new();
    for pid in pids {
        if let Some((stat, _)) = open(root, *pid)? {
            children.entry(stat.ppid).or_default().push(stat);
        }
    }
    let mut family = HashMap::new();
    let mut next = vec![init];
    while let Some(parent) = next.pop() {
        for child in children.get(&parent).into_iter().flatten() {
            if family.insert(child.pid, child.starttime).is_none() {
                next.push(child.pid);
            }
        }
    }
    Ok(family)
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
) -> io::Result<ProcessInfo> {
    let (status, process) = match stat.state() {
        Ok(ProcState::Stopped | ProcState::Tracing) => (Status::Stopped, process),
        // The other threads still run, and their files have what the first thread's lack.
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
    let line = unless_gone(allowance.read(&process))?.unwrap_or_default();
    let CommandLine { name, arguments } = parse_command_line(&line, &stat.comm, executable);
    let memory = match status {
        Status::Running if is_headless(stat) => self::stat(&process).ok(),
        _ => None,
    };
    let ticks = procfs::ticks_per_second().max(1);
    let start_time_ms = boot_ms + stat.starttime * 1000 / ticks;
    let has_exited = status == Status::Exited;
    Ok(ProcessInfo {
        pid: stat.pid as u32,
        ppid: if stat.ppid == init { 0 } else { stat.ppid as u32 },
        pgid: stat.pgrp,
        sid: stat.session,
        driver: command_line::driver(executable.unwrap_or(&name)),
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
    })
}

/// A thread other than the first, treated as a process: its directory in `/proc` contains the same files.
fn other_thread(root: &Path, process: &Process) -> Option<Process> {
    let mut threads = process.tasks().ok()?.flatten();
    let other = threads.find(|thread| thread.tid != thread.pid)?;
    Process::new_with_root(root.join(format!("{}/task/{}", other.pid, other.tid))).ok()
}

/// Converts a wait status (`wait(2)`) to the exit code that a shell reports.
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
