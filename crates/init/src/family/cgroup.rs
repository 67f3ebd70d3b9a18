//! A cgroup for each family: what a family starts cannot leave it, so killing it takes everything.
//!
//! Directories of families that have ended are used again, because making and removing one costs about as much as
//! starting a program. The kernel puts a child into its cgroup as it makes it (`CLONE_INTO_CGROUP`): moving a running
//! process would cost milliseconds.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use libc::pid_t;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::memory::counted;

/// Empty directories that are kept for families to come.
const IDLE_BOUND: usize = 16;

/// The directory in which the families' are.
#[derive(Debug)]
pub struct Cgroups {
    base_fd: OwnedFd,
    idle: Vec<Leaf>,
    made: u64,
    /// Whether each directory counts what the kernel kills in it for want of memory.
    counts_kills: bool,
}

/// A family's directory.
#[derive(Debug)]
pub struct Leaf {
    name: String,
    fd: OwnedFd,
    killed: Cell<bool>,
    kills_before: Option<u64>,
}

impl Cgroups {
    /// Makes families' directories in `base_fd`, with the memory controller if `counts_kills`.
    pub fn new(base_fd: OwnedFd, counts_kills: bool) -> Self {
        Self {
            base_fd,
            idle: Vec::new(),
            made: 0,
            counts_kills,
        }
    }

    /// An empty directory.
    pub fn take(&mut self) -> Result<Leaf, Errno> {
        let mut leaf = match self.idle.pop() {
            Some(leaf) => leaf,
            None => self.make()?,
        };
        if self.counts_kills {
            leaf.kills_before = Some(leaf.count()?);
        }
        Ok(leaf)
    }

    /// Makes sure that the next [`take`](Self::take) finds one.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        if self.idle.is_empty() {
            let leaf = self.make()?;
            self.idle.push(leaf);
        }
        Ok(())
    }

    /// Takes back a directory that nothing is left in.
    ///
    /// One that was killed is not used again: Linux 6.14 and later compare the count of its kills with that of the
    /// parent's own cgroup, and kill a child that is cloned into it at once.
    pub fn give_back(&mut self, leaf: Leaf) -> Result<(), Errno> {
        if self.idle.len() < IDLE_BOUND && !leaf.killed.get() {
            self.idle.push(leaf);
            return Ok(());
        }
        unlinkat(&self.base_fd, leaf.name.as_str(), UnlinkatFlags::RemoveDir)
    }

    fn make(&mut self) -> Result<Leaf, Errno> {
        let name = format!("family-{}", self.made);
        self.made += 1;
        mkdirat(&self.base_fd, name.as_str(), Mode::from_bits_truncate(0o755))?;
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        let fd = openat(&self.base_fd, name.as_str(), flags, Mode::empty())?;
        Ok(Leaf {
            name,
            fd,
            killed: Cell::new(false),
            kills_before: None,
        })
    }
}

impl Leaf {
    /// Sends SIGKILL to all that is in it, and to what that forks meanwhile.
    pub fn kill(&self) -> Result<(), Errno> {
        self.killed.set(true);
        let mut file = self.open(c"cgroup.kill", OFlag::O_WRONLY)?;
        file.write_all(b"1").map_err(|error| errno_of(&error))
    }

    /// How many of the family's processes the kernel has killed for want of memory, where that is counted here.
    pub fn kills(&self) -> Result<u64, Errno> {
        match self.kills_before {
            Some(before) => Ok(self.count()?.saturating_sub(before)),
            None => Ok(0),
        }
    }

    fn count(&self) -> Result<u64, Errno> {
        counted(&self.fd, "memory.events.local")
    }

    /// Whether something in it is alive. Zombies do not count.
    pub fn is_populated(&self) -> Result<bool, Errno> {
        let mut buffer = [0; 128];
        let length = self
            .open(c"cgroup.events", OFlag::O_RDONLY)?
            .read(&mut buffer)
            .map_err(|error| errno_of(&error))?;
        Ok(!buffer[..length].starts_with(b"populated 0"))
    }

    /// The processes in it.
    pub fn pids(&self) -> Result<Vec<pid_t>, Errno> {
        let mut text = String::new();
        self.open(c"cgroup.procs", OFlag::O_RDONLY)?
            .read_to_string(&mut text)
            .map_err(|error| errno_of(&error))?;
        Ok(text
            .lines()
            .filter_map(|line| line.parse().ok())
            .filter(|&pid| pid > 0)
            .collect())
    }

    fn open(&self, name: &std::ffi::CStr, flags: OFlag) -> Result<File, Errno> {
        Ok(File::from(openat(
            &self.fd,
            name,
            flags | OFlag::O_CLOEXEC,
            Mode::empty(),
        )?))
    }
}

impl AsFd for Leaf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

fn errno_of(error: &std::io::Error) -> Errno {
    error.raw_os_error().map_or(Errno::EIO, Errno::from_raw)
}
