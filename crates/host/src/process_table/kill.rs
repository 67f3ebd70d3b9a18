//! Kills everything that runs in a VM if its init does not do so.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_proc_stat::STAT_BYTES;

use super::{family_of, numbers, open};
use crate::sys;

/// Sends SIGKILL to every process of the VM and to those that work for its init; to init as well if `whole`. Reads
/// nothing that a program can keep locked. The arguments are the same as for
/// [`members`](super::members).
pub fn kill_all(proc_fd: &OwnedFd, init: i32, whole: bool) -> io::Result<()> {
    let mut pids = numbers(proc_fd, ".")?;
    let family = if whole {
        None
    } else {
        pids.retain(|pid| *pid != init);
        Some(family_of(proc_fd, &pids, init)?)
    };
    for pid in pids {
        let mut buffer = [0; STAT_BYTES];
        let Some((stat, directory)) = open(proc_fd, pid, &mut buffer)? else {
            continue;
        };
        // Another process may have this pid by now; the descriptor stays with the one that it was opened for.
        let is_ours = family
            .as_ref()
            .is_none_or(|family| family.get(&pid) == Some(&stat.start));
        // The kernel accepts a directory of `/proc` as a pidfd, unless it was opened with `O_PATH`.
        if is_ours && let Ok(process) = directory.file(".") {
            sys::kill(process.as_fd());
        }
    }
    Ok(())
}
