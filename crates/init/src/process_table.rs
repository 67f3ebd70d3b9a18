//! The VM's processes, read from `/proc`: only from files that the kernel writes without a lock that a program can hold, such
//! as that of the program's memory (`cmdline`, `environ`, `maps`).

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_proc_stat::{STAT_BYTES, Stat, numbers};
use libc::pid_t;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;

/// The maximum size of `/proc/<pid>/limits`: 17 lines of at most 80 bytes. The kernel produces all of it for one
/// `read(2)`.
const LIMITS_BYTES: usize = 2048;

/// The line of `/proc/<pid>/limits` about `RLIMIT_LOCKS`.
const LOCKS: &[u8] = b"Max file locks";

/// One process, from `/proc/<pid>/stat`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Process {
    /// Its pid.
    pub pid: pid_t,
    /// The letter of its state.
    pub state: u8,
    /// Its parent's pid.
    pub ppid: pid_t,
    /// Its process group.
    pub pgid: pid_t,
    /// Its session.
    pub sid: pid_t,
    /// Whether it is past its `execve`, as far as init can see. Until then it has its parent's name or none.
    pub has_executed: bool,
    /// Whether its first thread has ended, so that `/proc/<pid>` shows nothing of its memory.
    is_headless: bool,
    /// The number of its threads. The first one counts until the process is reaped, even if it ended before the others.
    pub threads: u32,
    /// When it started, in clock ticks since the machine's start. Together with the pid it identifies the process.
    pub start: u64,
}

impl Process {
    /// Whether it runs or could run; a zombie does not. A process whose first thread alone has ended looks like a
    /// zombie, but its other threads still run.
    pub fn is_alive(&self) -> bool {
        !self.is_headless || self.threads > 1
    }

    /// Whether it has a processor, or waits for one or for a disk.
    pub fn is_runnable(&self) -> bool {
        matches!(self.state, b'R' | b'D')
    }

    fn of(stat: &Stat<'_>) -> Self {
        Self {
            pid: stat.pid,
            state: stat.state,
            ppid: stat.ppid,
            pgid: stat.pgid,
            sid: stat.sid,
            has_executed: stat.has_executed(),
            is_headless: stat.is_headless(),
            threads: stat.threads,
            start: stat.start,
        }
    }
}

/// The table of the VM's processes.
#[derive(Debug)]
pub struct ProcessTable {
    proc_fd: OwnedFd,
    init: pid_t,
    /// Processes that work for init, which are no more of the VM's than init is.
    helpers: Vec<pid_t>,
    /// Whether everything in `/proc` belongs to the VM; otherwise only the descendants of init do.
    own: bool,
}

impl ProcessTable {
    /// Reads from `proc_fd`, which is the VM's own `/proc` if `own`.
    pub fn new(proc_fd: OwnedFd, own: bool) -> Self {
        Self {
            proc_fd,
            init: nix::unistd::getpid().as_raw(),
            helpers: Vec::new(),
            own,
        }
    }

    /// Leaves these out from now on, and no others, as processes that work for init. False if it did so before.
    pub fn set_helpers(&mut self, pids: &[pid_t]) -> bool {
        let changed = self.helpers != pids;
        if changed {
            self.helpers = pids.to_vec();
        }
        changed
    }

    /// The processes that work for init.
    pub fn helpers(&self) -> impl Iterator<Item = pid_t> {
        self.helpers.iter().copied()
    }

    fn is_of_init(&self, pid: pid_t) -> bool {
        pid == self.init || self.helpers.contains(&pid)
    }

    /// The `/proc` that it reads.
    pub fn proc_fd(&self) -> BorrowedFd<'_> {
        self.proc_fd.as_fd()
    }

    /// The process with that pid, if there is one in `/proc`.
    pub fn get(&self, pid: pid_t) -> Option<Process> {
        let mut buffer = [0; STAT_BYTES];
        let length = self.open(pid, "stat").ok()?.read(&mut buffer).ok()?;
        Some(Process::of(&Stat::parse(&buffer[..length])?))
    }

    /// The VM's process that traces the given one, if any does.
    pub fn tracer(&self, pid: pid_t) -> Option<Process> {
        // The tracer is a thread, and `/proc` has its id too.
        let thread = self.status(pid, "TracerPid:").filter(|thread| *thread > 0)?;
        let tracer = self.get(self.status(thread, "Tgid:")?)?;
        self.contains(&tracer).then_some(tracer)
    }

    /// The number in a line of `/proc/<pid>/status`.
    fn status(&self, pid: pid_t, name: &str) -> Option<pid_t> {
        let mut bytes = Vec::new();
        self.open(pid, "status").ok()?.read_to_end(&mut bytes).ok()?;
        let text = String::from_utf8_lossy(&bytes);
        let number = text.lines().find_map(|line| line.strip_prefix(name))?;
        number.trim().parse().ok()
    }

    /// The id that the VM assigned last to a process or a thread (`proc_loadavg(5)`): while it stays the same, nothing
    /// is started. `None` if ids are the host's.
    pub fn newest(&self) -> Option<pid_t> {
        if !self.own {
            return None;
        }
        let mut text = String::new();
        self.open_path("loadavg").ok()?.read_to_string(&mut text).ok()?;
        text.split_ascii_whitespace().next_back()?.parse().ok()
    }

    /// Every process of the VM except init.
    pub fn all(&self) -> Vec<Process> {
        let everything: Vec<Process> = self.pids().into_iter().filter_map(|pid| self.get(pid)).collect();
        if self.own {
            return everything
                .into_iter()
                .filter(|process| !self.is_of_init(process.pid))
                .collect();
        }
        let mut ours = descendants(&everything, [self.init].into());
        ours.retain(|pid| !self.is_of_init(*pid));
        everything
            .into_iter()
            .filter(|process| ours.contains(&process.pid))
            .collect()
    }

    /// Whether a process belongs to the VM and is not init.
    pub fn contains(&self, process: &Process) -> bool {
        if self.is_of_init(process.pid) {
            return false;
        }
        // A parent with a higher pid does not mean a loop, so the number of steps is bounded instead.
        let mut ppid = process.ppid;
        for _ in 0..4096 {
            if self.own || ppid == self.init {
                return true;
            }
            match self.get(ppid) {
                Some(parent) if ppid > 1 => ppid = parent.ppid,
                _ => return false,
            }
        }
        false
    }

    /// The children of init; `None` if the kernel does not report them (`CONFIG_PROC_CHILDREN`).
    pub fn children_of_init(&self) -> Option<Vec<pid_t>> {
        let path = format!("{0}/task/{0}/children", self.init);
        let mut text = String::new();
        self.open_path(&path).ok()?.read_to_string(&mut text).ok()?;
        Some(
            text.split_ascii_whitespace()
                .filter_map(|pid| pid.parse().ok())
                .filter(|pid| !self.helpers.contains(pid))
                .collect(),
        )
    }

    /// The hard limit on its file locks (`RLIMIT_LOCKS`); `None` if there is none, or if it has just been reaped.
    pub fn lock_limit(&self, pid: pid_t) -> Option<u64> {
        let mut buffer = [0; LIMITS_BYTES];
        let length = self.open(pid, "limits").ok()?.read(&mut buffer).ok()?;
        let mut lines = buffer[..length].split(|&byte| byte == b'\n');
        let line = lines.find_map(|line| line.strip_prefix(LOCKS))?;
        // The soft limit, the hard limit, and the unit.
        let hard = std::str::from_utf8(line).ok()?.split_ascii_whitespace().nth(1)?;
        hard.parse().ok()
    }

    fn pids(&self) -> Vec<pid_t> {
        self.numbers(".")
    }

    fn numbers(&self, path: &str) -> Vec<pid_t> {
        // The process has ended. Or there is no free descriptor or memory: then none is found, and the caller tries again.
        numbers(&self.proc_fd, path).unwrap_or_default()
    }

    fn open(&self, pid: pid_t, file: &str) -> io::Result<File> {
        self.open_path(&format!("{pid}/{file}"))
    }

    fn open_path(&self, path: &str) -> io::Result<File> {
        let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(self.proc_fd.as_fd(), path, flags, Mode::empty())
            .map_err(|errno: Errno| io::Error::from(errno))?;
        Ok(File::from(fd))
    }
}

/// The pids in `roots` and of all their descendants.
pub fn descendants(processes: &[Process], roots: BTreeSet<pid_t>) -> BTreeSet<pid_t> {
    let pairs = processes.iter().map(|process| (process.pid, process.ppid));
    agent_vm_proc_stat::descendants(pairs, roots)
}
