//! A cgroup for each family: processes that a family starts cannot leave it, so killing the cgroup kills all of them.
//!
//! Directories of ended families are reused, because making and removing one costs about as much as starting a program.
//! The kernel puts a child into its cgroup when it makes the child (`CLONE_INTO_CGROUP`): moving a running process
//! would take milliseconds.

use std::cell::Cell;
use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_protocol::message::CgroupSetting;
use libc::pid_t;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::cgroup_file::{self, counted, is_gone, unless_gone};
use crate::sys::errno_of;

/// How many empty directories are kept for later families.
const IDLE_BOUND: usize = 16;

/// The directory that contains the families' directories.
#[derive(Debug)]
pub struct LeafCgroups {
    base_fd: OwnedFd,
    idle: Vec<Leaf>,
    made: u64,
    /// Whether each directory counts processes that the kernel kills in it because memory ran out.
    counts_kills: bool,
    settings: Vec<CgroupSetting>,
}

/// A family's directory.
#[derive(Debug)]
pub struct Leaf {
    name: String,
    fd: OwnedFd,
    killed: Cell<bool>,
    /// Whether it is frozen, or about to be.
    frozen: Cell<bool>,
    kills_before: Option<u64>,
}

impl LeafCgroups {
    /// Makes families' directories in `base_fd`, with the memory controller if `counts_kills`, and with `settings`.
    pub fn new(base_fd: OwnedFd, counts_kills: bool, settings: Vec<CgroupSetting>) -> Self {
        Self {
            base_fd,
            idle: Vec::new(),
            made: 0,
            counts_kills,
            settings,
        }
    }

    /// An empty directory.
    pub fn take(&mut self) -> Result<Leaf, Errno> {
        while let Some(leaf) = self.idle.pop() {
            match self.counting(leaf) {
                // Somebody on the host has removed it.
                Err(errno) if is_gone(errno) => {}
                other => return other,
            }
        }
        let leaf = self.make()?;
        self.counting(leaf)
    }

    /// Forgets empty directories that somebody on the host has removed.
    pub fn forget_removed(&mut self) {
        self.idle.retain(Leaf::exists);
    }

    fn counting(&self, mut leaf: Leaf) -> Result<Leaf, Errno> {
        if self.counts_kills {
            leaf.kills_before = Some(leaf.count()?);
        }
        Ok(leaf)
    }

    /// Makes sure that the next [`take`](Self::take) finds a directory.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        if self.idle.is_empty() {
            let leaf = self.make()?;
            self.idle.push(leaf);
        }
        Ok(())
    }

    /// Takes back an empty directory.
    ///
    /// A directory that was killed is not reused: Linux 6.14 and later compare the count of its kills with that of the
    /// parent's own cgroup, and at once kill a child that is cloned into it. Nor is one that is frozen: no program would start in it.
    pub fn give_back(&mut self, leaf: Leaf) -> Result<(), Errno> {
        if self.idle.len() < IDLE_BOUND && !leaf.killed.get() && !leaf.frozen.get() {
            self.idle.push(leaf);
            return Ok(());
        }
        match unlinkat(&self.base_fd, leaf.name.as_str(), UnlinkatFlags::RemoveDir) {
            Err(errno) if is_gone(errno) => Ok(()),
            other => other,
        }
    }

    fn make(&mut self) -> Result<Leaf, Errno> {
        let number = self.made;
        self.made += 1;
        let (name, fd) = cgroup_file::make(&self.base_fd, number, &self.settings)?;
        Ok(Leaf {
            name,
            fd,
            killed: Cell::new(false),
            frozen: Cell::new(false),
            kills_before: None,
        })
    }
}

impl Leaf {
    /// Whether it still exists.
    pub fn exists(&self) -> bool {
        !self.open(c"cgroup.events", OFlag::O_RDONLY).is_err_and(is_gone)
    }

    /// Sends SIGKILL to all processes in it, including those that fork meanwhile.
    pub fn kill(&self) -> Result<(), Errno> {
        self.killed.set(true);
        let written = self
            .open(c"cgroup.kill", OFlag::O_WRONLY)
            .and_then(|mut file| file.write_all(b"1").map_err(|error| errno_of(&error)));
        // A directory that does not exist contains nothing.
        unless_gone(written, ())
    }

    /// Freezes its processes, or lets them run again. Returns whether all are frozen, or none. A SIGKILL ends frozen processes.
    pub fn set_frozen(&self, frozen: bool) -> Result<bool, Errno> {
        if self.frozen.get() != frozen {
            let value: &[u8] = if frozen { b"1" } else { b"0" };
            let written = self
                .open(c"cgroup.freeze", OFlag::O_WRONLY)
                .and_then(|mut file| file.write_all(value).map_err(|error| errno_of(&error)));
            match written {
                // A directory that does not exist contains nothing.
                Err(errno) if is_gone(errno) && !self.exists() => return Ok(true),
                other => other?,
            }
            self.frozen.set(frozen);
        }
        if !frozen {
            return Ok(true);
        }
        let mut events = String::new();
        let read = self
            .open(c"cgroup.events", OFlag::O_RDONLY)
            .and_then(|mut file| file.read_to_string(&mut events).map_err(|error| errno_of(&error)));
        unless_gone(read, 0)?;
        let is_running =
            events.lines().any(|line| line == "populated 1") && events.lines().any(|line| line == "frozen 0");
        Ok(!is_running)
    }

    /// How many of the family's processes the kernel has killed because memory ran out, if this directory counts them.
    pub fn kills(&self) -> Result<u64, Errno> {
        match self.kills_before {
            Some(before) => Ok(unless_gone(self.count(), before)?.saturating_sub(before)),
            None => Ok(0),
        }
    }

    fn count(&self) -> Result<u64, Errno> {
        counted(&self.fd, "memory.events.local")
    }

    /// Whether a process in it is alive. Zombies do not count.
    pub fn is_populated(&self) -> Result<bool, Errno> {
        let mut buffer = [0; 128];
        let length = self
            .open(c"cgroup.events", OFlag::O_RDONLY)
            .and_then(|mut file| file.read(&mut buffer).map_err(|error| errno_of(&error)));
        let populated = length.map(|length| !buffer[..length].starts_with(b"populated 0"));
        unless_gone(populated, false)
    }

    /// The processes in it.
    pub fn pids(&self) -> Result<Vec<pid_t>, Errno> {
        let mut text = String::new();
        let read = self
            .open(c"cgroup.procs", OFlag::O_RDONLY)
            .and_then(|mut file| file.read_to_string(&mut text).map_err(|error| errno_of(&error)));
        unless_gone(read, 0)?;
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
