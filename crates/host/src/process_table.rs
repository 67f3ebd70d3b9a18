//! Everything that runs in a VM, read from the VM's own `/proc` through the descriptor that init handed over.
//!
//! Read by the host, not by init: a process whose command line is slow to read (it lies in memory backed by a slow file)
//! holds up nothing but the caller.

use std::os::fd::{AsRawFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use procfs::process::{ProcState, Process, Stat};
use procfs::{Current, Uptime, WithCurrentSystemInfo};

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
    pub driver: String,
    /// As it was started, without its folder.
    pub command: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Its working directory, or nothing where that cannot be read.
    pub cwd: String,
    /// Whether it runs, is stopped, or waits to be reaped.
    pub status: Status,
    /// As a shell reports it, for one that has exited.
    pub exit_code: Option<i32>,
    /// Milliseconds since the Unix epoch.
    pub start_time_ms: u64,
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

/// Interpreters that are a driver of their own. Shells are not among them: what they run are programs.
const RUNTIMES: [&str; 15] = [
    "node", "python", "pypy", "perl", "ruby", "php", "lua", "luajit", "java", "deno", "bun", "Rscript",
    "julia", "guile", "tclsh",
];

/// The process table, by pid. `init` is init's pid in that `/proc`, which is not listed; `whole` says that the table is the
/// VM's own, else only what descends from init is of the VM.
pub fn read(proc_fd: &OwnedFd, init: i32, whole: bool) -> Vec<ProcessInfo> {
    let root = PathBuf::from(format!("/proc/self/fd/{}", proc_fd.as_raw_fd()));
    let Ok(entries) = std::fs::read_dir(&root) else {
        return Vec::new();
    };
    let boot_ms = boot_time_ms();
    let mut pids: Vec<i32> = entries
        .flatten()
        .filter_map(|entry| entry.file_name().to_str()?.parse().ok())
        .filter(|pid| *pid != init)
        .collect();
    pids.sort_unstable();
    let mut found: Vec<(Stat, Process)> = pids.iter().filter_map(|pid| open(&root, *pid)).collect();
    if !whole {
        keep_descendants(&mut found, init);
    }
    found
        .into_iter()
        .map(|(stat, process)| describe(&stat, &process, init, boot_ms))
        .collect()
}

/// A process that ends while it is looked at is not in the table.
fn open(root: &Path, pid: i32) -> Option<(Stat, Process)> {
    let process = Process::new_with_root(root.join(pid.to_string())).ok()?;
    Some((process.stat().ok()?, process))
}

fn keep_descendants(found: &mut Vec<(Stat, Process)>, init: i32) {
    let mut family = vec![init];
    let mut next = 0;
    while next < family.len() {
        let parent = family[next];
        family.extend(
            found
                .iter()
                .filter(|(stat, _)| stat.ppid == parent)
                .map(|(stat, _)| stat.pid),
        );
        next += 1;
    }
    found.retain(|(stat, _)| family.contains(&stat.pid));
}

fn describe(stat: &Stat, process: &Process, init: i32, boot_ms: u64) -> ProcessInfo {
    let line = process.cmdline().unwrap_or_default();
    let ticks = procfs::ticks_per_second().max(1);
    let mut words = line.into_iter();
    // A login shell's own name begins with a hyphen; a zombie has no command line left.
    let name = words
        .next()
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| stat.comm.clone());
    let command = base_name(name.trim_start_matches('-')).to_owned();
    let status = match stat.state() {
        Ok(ProcState::Stopped | ProcState::Tracing) => Status::Stopped,
        Ok(ProcState::Zombie | ProcState::Dead) => Status::Exited,
        _ => Status::Running,
    };
    let executable = process.exe().ok();
    let executable = executable.as_deref().and_then(Path::to_str).unwrap_or(&command);
    ProcessInfo {
        pid: stat.pid as u32,
        ppid: if stat.ppid == init { 0 } else { stat.ppid as u32 },
        pgid: stat.pgrp,
        sid: stat.session,
        driver: driver(executable),
        command,
        args: words.collect(),
        cwd: process
            .cwd()
            .ok()
            .and_then(|path| path.to_str().map(str::to_owned))
            .unwrap_or_default(),
        status,
        exit_code: (status == Status::Exited).then(|| exit_code(stat.exit_code.unwrap_or(0))),
        start_time_ms: boot_ms + stat.starttime * 1000 / ticks,
        rss_bytes: stat.rss_bytes().get(),
        cpu_ms: (stat.utime + stat.stime) * 1000 / ticks,
    }
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

/// The runtime's name, or `native`, from the program that a process executes.
fn driver(executable: &str) -> String {
    let name = base_name(executable.trim_end_matches(" (deleted)"));
    let plain =
        name.trim_end_matches(|letter: char| letter.is_ascii_digit() || letter == '.' || letter == '-');
    if RUNTIMES.contains(&plain) {
        plain.to_owned()
    } else {
        "native".to_owned()
    }
}

fn base_name(path: &str) -> &str {
    match path.trim_end_matches('/').rsplit('/').next() {
        Some(name) if !name.is_empty() => name,
        _ => path,
    }
}

/// When the machine was started, in ms since the epoch, so that a start time is right to the kernel's tick.
fn boot_time_ms() -> u64 {
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |time| time.as_millis() as u64);
    let uptime = Uptime::current().map_or(0, |uptime| uptime.uptime_duration().as_millis() as u64);
    now.saturating_sub(uptime)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drivers_are_told_from_the_program() {
        for (program, expected) in [
            ("/usr/bin/node", "node"),
            ("/usr/bin/python3.11", "python"),
            ("/usr/bin/perl5.36.0", "perl"),
            ("/usr/bin/dash", "native"),
            ("/opt/node/bin/node (deleted)", "node"),
            ("/usr/bin/nodejs-helper", "native"),
            ("/", "native"),
        ] {
            assert_eq!(driver(program), expected, "{program}");
        }
    }

    #[test]
    fn wait_statuses_are_as_a_shell_says() {
        assert_eq!((exit_code(0x0300), exit_code(9), exit_code(0x8b)), (3, 137, 139));
    }
}
