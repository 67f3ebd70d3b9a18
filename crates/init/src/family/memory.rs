//! A memory cgroup of version 1 for each family: the kernel counts in it the processes that it killed because memory
//! ran out.
//!
//! The limit itself is the VM's, one level above, where programs cannot reach it. A family's directory repeats the
//! limit if programs see the directory, because most runtimes look only there. The processes that a program starts are
//! in its directory too, so the count is only the family's.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_protocol::message::CgroupSetting;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use super::cgroup_file::{self, counted, is_gone};
use crate::sys::errno_of;

/// How many empty directories are kept for later families.
const IDLE_BOUND: usize = 16;

/// The directory that contains the families' directories.
#[derive(Debug)]
pub struct MemoryCgroups {
    base_fd: OwnedFd,
    idle: Vec<MemoryLeaf>,
    /// The directories of ended families, in which processes may still run.
    ended: Vec<MemoryLeaf>,
    made: u64,
    settings: Vec<CgroupSetting>,
}

/// A family's directory.
#[derive(Debug)]
pub struct MemoryLeaf {
    name: String,
    fd: OwnedFd,
    tasks: File,
    kills_before: u64,
}

impl MemoryCgroups {
    /// Makes families' directories in `base_fd`, with `settings`.
    pub fn new(base_fd: OwnedFd, settings: Vec<CgroupSetting>) -> Self {
        Self {
            base_fd,
            idle: Vec::new(),
            ended: Vec::new(),
            made: 0,
            settings,
        }
    }

    /// An empty directory.
    pub fn take(&mut self) -> Result<MemoryLeaf, Errno> {
        self.sweep();
        while let Some(leaf) = self.idle.pop() {
            match leaf.counting() {
                // Somebody on the host has removed it.
                Err(errno) if is_gone(errno) => {}
                other => return other,
            }
        }
        self.make()?.counting()
    }

    /// Forgets empty directories that somebody on the host has removed.
    pub fn forget_removed(&mut self) {
        self.idle.retain(MemoryLeaf::exists);
    }

    /// Takes back a directory, for when it is empty.
    pub fn give_back(&mut self, leaf: MemoryLeaf) {
        self.ended.push(leaf);
        self.sweep();
    }

    /// Frees the directories of ended families that are empty by now.
    fn sweep(&mut self) {
        for leaf in std::mem::take(&mut self.ended) {
            match leaf.is_empty() {
                Ok(true) => {}
                // Somebody on the host has removed it.
                Err(errno) if is_gone(errno) => continue,
                Ok(false) | Err(_) => {
                    self.ended.push(leaf);
                    continue;
                }
            }
            if self.idle.len() < IDLE_BOUND {
                self.idle.push(leaf);
            } else if let Err(errno) = unlinkat(&self.base_fd, leaf.name.as_str(), UnlinkatFlags::RemoveDir) {
                // It is removed with the VM.
                crate::sys::log(&errno);
            }
        }
    }

    fn make(&mut self) -> Result<MemoryLeaf, Errno> {
        let number = self.made;
        self.made += 1;
        let (name, fd) = cgroup_file::make(&self.base_fd, number, &self.settings)?;
        let tasks = openat(&fd, "tasks", OFlag::O_RDWR | OFlag::O_CLOEXEC, Mode::empty())?.into();
        Ok(MemoryLeaf {
            name,
            fd,
            tasks,
            kills_before: 0,
        })
    }
}

impl MemoryLeaf {
    /// How many of the family's processes the kernel has killed.
    pub fn kills(&self) -> Result<u64, Errno> {
        match self.count() {
            Err(errno) if is_gone(errno) => Ok(0),
            count => Ok(count?.saturating_sub(self.kills_before)),
        }
    }

    /// Whether it still exists.
    pub fn exists(&self) -> bool {
        !self.is_empty().is_err_and(is_gone)
    }

    fn counting(mut self) -> Result<Self, Errno> {
        self.kills_before = self.count()?;
        Ok(self)
    }

    fn count(&self) -> Result<u64, Errno> {
        counted(&self.fd, "memory.oom_control")
    }

    fn is_empty(&self) -> Result<bool, Errno> {
        use std::os::unix::fs::FileExt;
        let read = self.tasks.read_at(&mut [0; 16], 0);
        read.map(|length| length == 0).map_err(|error| errno_of(&error))
    }
}

/// A process joins it by writing 0.
impl AsFd for MemoryLeaf {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.tasks.as_fd()
    }
}

/// Joins the cgroup of version 1 whose `tasks` file this is.
pub fn join(tasks_fd: OwnedFd) -> Result<(), Errno> {
    File::from(tasks_fd)
        .write_all(b"0")
        .map_err(|error| errno_of(&error))
}
