//! The processes that run in a VM, read from the VM's own `/proc` through a descriptor that init sent.
//!
//! The host reads them, not init: a process whose command line is slow to read delays only the caller, and that not for
//! long ([`look`]).

mod clock;
mod command_line;
mod directory;
mod kill;
mod look;
mod members;
mod totals;

use std::collections::HashMap;
use std::io;
use std::os::fd::OwnedFd;

use agent_vm_proc_stat::{STAT_BYTES, Stat, descendants, numbers};
use nix::unistd::{SysconfVar, sysconf};

pub use self::directory::ProcDirectory;
pub use self::kill::kill_all;
pub use self::look::ProcessLook;
pub use self::members::{Member, members};
pub use self::totals::{Totals, exact_time_us, totals};

use self::command_line::{CommandLine, parse_command_line};

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
    /// When it started, in clock ticks since the machine did. With the pid it names a process for good.
    pub start_ticks: u64,
    /// Whether it is a copy of its parent that has not executed a program yet.
    pub is_copy: bool,
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

/// `None` if the process has ended meanwhile. Having no free descriptor is an error.
fn unless_gone<T>(looked: io::Result<T>) -> io::Result<Option<T>> {
    match looked {
        Ok(found) => Ok(Some(found)),
        Err(error) if matches!(error.raw_os_error(), Some(libc::EMFILE | libc::ENFILE)) => Err(error),
        Err(_) => Ok(None),
    }
}

/// A process that ends while it is read is not listed.
fn open<'a>(
    proc_fd: &OwnedFd,
    pid: i32,
    buffer: &'a mut [u8; STAT_BYTES],
) -> io::Result<Option<(Stat<'a>, ProcDirectory)>> {
    let Some(directory) = unless_gone(ProcDirectory::open(proc_fd, pid))? else {
        return Ok(None);
    };
    let text = unless_gone(directory.stat(buffer))?;
    Ok(text.and_then(Stat::parse).map(|stat| (stat, directory)))
}

/// The descendants of init, with their start times.
fn family_of(proc_fd: &OwnedFd, pids: &[i32], init: i32) -> io::Result<HashMap<i32, u64>> {
    let mut found = Vec::with_capacity(pids.len());
    for pid in pids {
        if let Some((stat, _)) = open(proc_fd, *pid, &mut [0; STAT_BYTES])? {
            found.push((stat.pid, stat.ppid, stat.start));
        }
    }
    let family = descendants(found.iter().map(|&(pid, ppid, _)| (pid, ppid)), [init].into());
    let of_family = found.into_iter().filter(|(pid, ..)| family.contains(pid));
    Ok(of_family.map(|(pid, _, start)| (pid, start)).collect())
}

/// The state of a process, and the directory of a thread of it that has what the files of an ended one lack.
fn with_status(stat: &Stat<'_>, directory: ProcDirectory) -> (Status, ProcDirectory) {
    match stat.is_headless() {
        // The other threads still run.
        true if stat.threads > 1 => {
            let other = directory.other_thread(stat.pid);
            (Status::Running, other.unwrap_or(directory))
        }
        true => (Status::Exited, directory),
        false if stat.is_stopped() => (Status::Stopped, directory),
        false => (Status::Running, directory),
    }
}

/// Describes a process whose command line is `line`. Reads nothing that a program can keep locked.
fn describe(
    stat: &Stat<'_>,
    status: Status,
    directory: &ProcDirectory,
    line: &[u8],
    init: i32,
    boot_ms: u64,
) -> ProcessInfo {
    let executable = directory.link("exe");
    let executable = executable.as_ref().map(|path| path.to_string_lossy());
    let executable = executable.as_deref();
    let kernel_name = String::from_utf8_lossy(stat.name);
    let CommandLine { name, arguments } = parse_command_line(line, &kernel_name, executable);
    let mut buffer = [0; STAT_BYTES];
    let memory = match status {
        Status::Running if stat.is_headless() => directory.stat(&mut buffer).ok().and_then(Stat::parse),
        _ => None,
    };
    let ticks = system(SysconfVar::CLK_TCK);
    let start_time_ms = boot_ms + stat.start * 1000 / ticks;
    let has_exited = status == Status::Exited;
    ProcessInfo {
        pid: stat.pid as u32,
        ppid: if stat.ppid == init { 0 } else { stat.ppid as u32 },
        pgid: stat.pgid,
        sid: stat.sid,
        driver: command_line::driver(executable.unwrap_or(&name)),
        command: name,
        args: arguments,
        cwd: directory
            .link("cwd")
            .map(|path| path.to_string_lossy().into_owned())
            .unwrap_or_default(),
        status,
        exit_code: has_exited.then(|| exit_code(stat.exit_code())),
        start_time_ms,
        start_ticks: stat.start,
        is_copy: stat.is_copy(),
        exit_time_ms: if has_exited {
            clock::last_ran_ms(directory).map(|time| time.max(start_time_ms))
        } else {
            None
        },
        rss_bytes: memory.as_ref().unwrap_or(stat).rss * system(SysconfVar::PAGE_SIZE),
        cpu_ms: (stat.utime + stat.stime) * 1000 / ticks,
    }
}

/// A system variable, such as the number of bytes in a page.
fn system(variable: SysconfVar) -> u64 {
    let value = sysconf(variable).ok().flatten();
    value.and_then(|value| value.try_into().ok()).unwrap_or(1)
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
