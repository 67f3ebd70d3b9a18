//! The processes of a VM, without what they are.

use std::io;
use std::os::fd::OwnedFd;

use agent_vm_proc_stat::STAT_BYTES;

use super::directory::ProcDirectory;
use super::{family_of, numbers, open, unless_gone};

/// One process of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Member {
    /// When it started, in clock ticks since the machine did.
    pub start: u64,
    /// Its pid in the VM's `/proc`.
    pub pid: i32,
}

impl Member {
    /// Its directory; `None` once it is gone.
    pub fn directory(self, proc_fd: &OwnedFd) -> io::Result<Option<ProcDirectory>> {
        let mut buffer = [0; STAT_BYTES];
        let found = open(proc_fd, self.pid, &mut buffer)?;
        // Another process may have this pid by now.
        Ok(found.and_then(|(stat, directory)| (stat.start == self.start).then_some(directory)))
    }
}

/// The VM's processes in the order of their starts, without init, whose pid in this `/proc` is `init`, and its `helpers`. If
/// `whole`, the `/proc` contains the VM's processes only; otherwise only the descendants of init belong to the VM. `None`
/// if init is gone. Reads nothing that a program can keep locked.
pub fn members(
    proc_fd: &OwnedFd,
    init: i32,
    helpers: &[u32],
    whole: bool,
) -> io::Result<Option<Vec<Member>>> {
    let Some(mut pids) = unless_gone(numbers(proc_fd, ".").map_err(Into::into))? else {
        return Ok(None);
    };
    pids.retain(|pid| *pid != init && !helpers.contains(&(*pid as u32)));
    let mut found = Vec::with_capacity(pids.len());
    if whole {
        for pid in pids {
            if let Some((stat, _)) = open(proc_fd, pid, &mut [0; STAT_BYTES])? {
                found.push(Member {
                    start: stat.start,
                    pid,
                });
            }
        }
    } else {
        let family = family_of(proc_fd, &pids, init)?;
        found.extend(family.into_iter().map(|(pid, start)| Member { start, pid }));
    }
    found.sort_unstable();
    let mut buffer = [0; STAT_BYTES];
    let init = open(proc_fd, init, &mut buffer)?;
    Ok(init.is_some_and(|(stat, _)| !stat.is_headless()).then_some(found))
}
