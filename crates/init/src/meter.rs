//! Counts what the VM has used. No reading waits: the kernel keeps all of the numbers.

use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{Disk, Measures, Usage};
use nix::sys::resource::{UsageWho, getrusage};
use nix::sys::statfs::fstatfs;
use nix::sys::time::{TimeVal, TimeValLike};

/// Counts what the VM has used.
#[derive(Debug)]
pub struct Meter {
    ended: Usage,
    most_running: usize,
    /// A directory of the file system of the private files, if the VM has one.
    private_fd: Option<OwnedFd>,
}

impl Meter {
    /// That of a new VM.
    pub fn new(private_fd: Option<OwnedFd>) -> Self {
        Self {
            ended: Usage::default(),
            most_running: 0,
            private_fd,
        }
    }

    /// Adds a program that was reaped, with the children that it waited for.
    pub fn add(&mut self, usage: Usage) {
        self.ended.user_us = self.ended.user_us.saturating_add(usage.user_us);
        self.ended.system_us = self.ended.system_us.saturating_add(usage.system_us);
        self.ended.max_rss_kib = self.ended.max_rss_kib.max(usage.max_rss_kib);
    }

    /// Records how many programs of the host's requests run.
    pub fn see_running(&mut self, count: usize) {
        self.most_running = self.most_running.max(count);
    }

    /// Everything that was counted so far.
    pub fn read(&self) -> Measures {
        let programs_us = self.ended.user_us.saturating_add(self.ended.system_us);
        let children_us = time_us(UsageWho::RUSAGE_CHILDREN);
        Measures {
            ended: self.ended,
            own_us: time_us(UsageWho::RUSAGE_SELF).saturating_add(children_us.saturating_sub(programs_us)),
            most_running: self.most_running as u64,
            disk: self.private_fd.as_ref().and_then(disk),
        }
    }
}

/// The processor time of init itself, or of everything that it has reaped, its helpers included.
fn time_us(who: UsageWho) -> u64 {
    let micros = |time: TimeVal| u64::try_from(time.num_microseconds()).unwrap_or(0);
    getrusage(who).map_or(0, |usage| {
        micros(usage.user_time()).saturating_add(micros(usage.system_time()))
    })
}

/// `None` if the kernel does not report it.
fn disk(private_fd: &OwnedFd) -> Option<Disk> {
    let found = fstatfs(private_fd.as_fd()).ok()?;
    let block = u64::try_from(found.block_size()).ok()?;
    Some(Disk {
        bytes: found.blocks().saturating_mul(block),
        free_bytes: found.blocks_available().saturating_mul(block),
        files: found.files(),
        free_files: found.files_free(),
    })
}
