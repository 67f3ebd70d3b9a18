//! A look at the terminals of a VM's shells.

use std::collections::HashMap;
use std::io::{self, Read};
use std::os::fd::OwnedFd;
use std::os::unix::fs::FileExt;

use super::descriptors::Descriptors;
use super::system_call::{WaitsFor, parse};
use crate::process_table::{Member, ProcDirectory};
use agent_vm_proc_stat::{STAT_BYTES, Stat};

/// The maximum number of processes of one foreground, and of threads of each, that are looked at.
const MOST_PROCESSES: usize = 64;
const MOST_THREADS: usize = 64;

/// The maximum number of descriptors that are looked at in what one thread waits for.
const MOST_DESCRIPTORS: u64 = 1024;

/// The maximum number of descriptors that one look looks at. All shells have an equal share of them: one does not hide another.
const MOST_IN_ALL: usize = 65_536;

/// How many other processes are tried to find out whether the kernel lets this process look at all.
const MOST_TRIED: usize = 64;

/// A shell to look at.
#[derive(Debug, Clone, Copy)]
pub struct LookAt<K> {
    /// Names it in the result.
    pub key: K,
    /// The pid of its program, which leads the terminal's session.
    pub pid: u32,
}

/// What identifies one wait: it changes when the thread has run in between.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WaitKey {
    pid: i32,
    thread: i32,
    switches: u64,
}

impl WaitKey {
    /// Whether both are waits of the same thread.
    pub fn is_same_thread(self, other: Self) -> bool {
        (self.pid, self.thread) == (other.pid, other.thread)
    }
}

/// What the program in the foreground does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TerminalState {
    /// One of its threads waits until it can read the terminal.
    Waits(WaitKey),
    /// Something else, or the kernel does not let this process look at it alone.
    Busy,
    /// The kernel does not let this process look at any process.
    Hidden,
}

/// The terminal that a process has, and who is in its foreground.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Terminal {
    device: u64,
    foreground: i32,
}

/// Looks at the terminals of these shells. A shell whose program has ended is left out.
pub fn look<K: Copy + Eq + std::hash::Hash>(
    proc_fd: &OwnedFd,
    members: &[Member],
    shells: &[LookAt<K>],
) -> io::Result<HashMap<K, TerminalState>> {
    let mut wanted: HashMap<(u64, i32), K> = HashMap::new();
    let mut found = HashMap::new();
    for shell in shells {
        let member = members.iter().find(|member| member.pid == shell.pid as i32);
        let directory = member.map(|member| member.directory(proc_fd)).transpose()?;
        let Some((_, terminal)) = directory.flatten().and_then(|directory| of(&directory)) else {
            continue;
        };
        wanted.insert((terminal.device, terminal.foreground), shell.key);
        found.insert(shell.key, TerminalState::Busy);
    }
    let share = MOST_IN_ALL / wanted.len().max(1);
    let mut left: HashMap<K, (usize, usize)> = HashMap::new();
    let (mut has_looked, mut refused) = (false, Vec::new());
    for member in members {
        let Some(directory) = member.directory(proc_fd)? else {
            continue;
        };
        let Some((group, terminal)) = of(&directory) else {
            continue;
        };
        let Some(key) = wanted.get(&(terminal.device, group)) else {
            continue;
        };
        let (processes, descriptors) = left.entry(*key).or_insert((MOST_PROCESSES, share));
        if *processes == 0 || matches!(found.get(key), Some(TerminalState::Waits(_))) {
            continue;
        }
        *processes -= 1;
        let descriptors = Descriptors::new(&directory, terminal.device, descriptors);
        match state(&directory, member.pid, descriptors) {
            Err(libc::EMFILE | libc::ENFILE) => return Err(io::Error::from_raw_os_error(libc::EMFILE)),
            Err(libc::EPERM | libc::EACCES | libc::ENOSYS) => refused.push(*key),
            // It has ended.
            Err(_) => {}
            Ok(state) => {
                has_looked = true;
                found.insert(*key, state);
            }
        }
    }
    // A program can forbid to look at itself: that says nothing of the others.
    if !refused.is_empty() && !has_looked && !can_look(proc_fd, members)? {
        found.extend(refused.into_iter().map(|key| (key, TerminalState::Hidden)));
    }
    Ok(found)
}

/// Whether the kernel lets this process look at any of them.
fn can_look(proc_fd: &OwnedFd, members: &[Member]) -> io::Result<bool> {
    for member in members.iter().take(MOST_TRIED) {
        if let Some(directory) = member.directory(proc_fd)?
            && text(&directory, "syscall").is_ok()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

/// The process group of a process, and its terminal.
fn of(directory: &ProcDirectory) -> Option<(i32, Terminal)> {
    let mut buffer = [0; STAT_BYTES];
    let bytes = directory.stat(&mut buffer).ok()?;
    let stat = Stat::parse(bytes)?;
    // The name may contain anything, also parentheses.
    let end = bytes.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(bytes.get(end + 1..)?).ok()?;
    let mut fields = rest.split_ascii_whitespace().skip(4);
    let device: i32 = fields.next()?.parse().ok()?;
    let foreground: i32 = fields.next()?.parse().ok()?;
    let terminal = Terminal {
        device: u64::from(device as u32),
        foreground,
    };
    (device != 0 && foreground > 0 && !stat.is_headless()).then_some((stat.pgid, terminal))
}

/// What a process in the foreground does. Fails with the kernel's error number.
fn state(
    directory: &ProcDirectory,
    pid: i32,
    mut descriptors: Descriptors<'_>,
) -> Result<TerminalState, i32> {
    let threads = directory.threads().map_err(number)?;
    for thread in threads.into_iter().take(MOST_THREADS) {
        let call = text(directory, &format!("task/{thread}/syscall"))?;
        let Some(waits_for) = parse(&call) else {
            continue;
        };
        if waits_for_terminal(directory, waits_for, &mut descriptors)?
            && let Some(switches) = switches(&text(directory, &format!("task/{thread}/status"))?)
        {
            return Ok(TerminalState::Waits(WaitKey {
                pid,
                thread,
                switches,
            }));
        }
    }
    Ok(TerminalState::Busy)
}

fn waits_for_terminal(
    directory: &ProcDirectory,
    waits_for: WaitsFor,
    descriptors: &mut Descriptors<'_>,
) -> Result<bool, i32> {
    let mut is_terminal = |fd: u64| descriptors.is_terminal(fd);
    match waits_for {
        WaitsFor::Read(fd) => Ok(is_terminal(fd)),
        WaitsFor::Poll { address, count } => {
            let polled = memory(directory, address, count.min(MOST_DESCRIPTORS) * 8)?;
            Ok(polled.chunks_exact(8).any(|entry| {
                let fd = i32::from_ne_bytes([entry[0], entry[1], entry[2], entry[3]]);
                let events = i16::from_ne_bytes([entry[4], entry[5]]);
                events & libc::POLLIN != 0 && u64::try_from(fd).is_ok_and(&mut is_terminal)
            }))
        }
        WaitsFor::Select { address, bits } => {
            if address == 0 {
                return Ok(false);
            }
            let bits = bits.min(MOST_DESCRIPTORS);
            let set = memory(directory, address, bits.div_ceil(64) * 8)?;
            Ok((0..bits).any(|fd| {
                let (word, bit) = ((fd / 64 * 8) as usize, fd % 64);
                let mut bytes = [0; 8];
                bytes.copy_from_slice(&set[word..word + 8]);
                u64::from_ne_bytes(bytes) & (1 << bit) != 0 && is_terminal(fd)
            }))
        }
        WaitsFor::Epoll(instance) => {
            let watched = text(directory, &format!("fdinfo/{instance}"))?;
            Ok(watched.lines().filter_map(watched_fd).any(is_terminal))
        }
    }
}

/// The descriptor in a line of an epoll instance's `fdinfo`, if it is watched for reading:
/// `tfd:        5 events:       19 data: …`.
fn watched_fd(line: &str) -> Option<u64> {
    let mut words = line.strip_prefix("tfd:")?.split_ascii_whitespace();
    let fd = words.next()?.parse().ok()?;
    let events = u32::from_str_radix(words.nth(1)?, 16).ok()?;
    (events & libc::EPOLLIN as u32 != 0).then_some(fd)
}

/// How often the thread has waited, from its `status`.
fn switches(status: &str) -> Option<u64> {
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?;
    line.trim().parse().ok()
}

fn text(directory: &ProcDirectory, name: &str) -> Result<String, i32> {
    let mut bytes = Vec::new();
    let file = directory.file(name).map_err(number)?;
    file.take(64 * 1024).read_to_end(&mut bytes).map_err(number)?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// A part of the process's memory; all zeros if there is none. It waits where the process keeps its memory locked.
fn memory(directory: &ProcDirectory, address: u64, length: u64) -> Result<Vec<u8>, i32> {
    let mut bytes = vec![0; length as usize];
    let file = directory.file("mem").map_err(number)?;
    // The process has given a wrong address, or a thread has changed what is there.
    if file.read_exact_at(&mut bytes, address).is_err() {
        bytes.fill(0);
    }
    Ok(bytes)
}

#[allow(clippy::needless_pass_by_value, reason = "as map_err calls it")]
fn number(error: io::Error) -> i32 {
    error.raw_os_error().unwrap_or(libc::EIO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_watched_for_reading_counts() {
        assert_eq!(
            watched_fd("tfd:       17 events:       19 data: 11  pos:0 ino:3 sdev:17"),
            Some(17)
        );
        assert_eq!(watched_fd("tfd:       17 events:        4 data: 11"), None);
        assert_eq!(watched_fd("pos:\t0"), None);
    }

    #[test]
    fn waits_are_counted() {
        let status = "Name:\tx\nvoluntary_ctxt_switches:\t42\nnonvoluntary_ctxt_switches:\t7\n";
        assert_eq!(switches(status), Some(42));
    }
}
