//! Sends signals for the host. Nothing here can signal init itself, or all processes at once.

use std::os::fd::AsFd;

use agent_vm_protocol::message::{Failure, Target};
use libc::{c_int, pid_t};
use nix::errno::Errno;

use crate::family::Families;
use crate::process_table::{Process, ProcessTable};
use crate::sys;

/// Sends `signal` to the process group that the target leads or, if it leads none, only to the target.
pub fn send(families: &Families, table: &ProcessTable, target: Target, signal: c_int) -> Result<(), Failure> {
    if signal == libc::SIGKILL {
        families.will_be_killed(target);
    }
    let sent = match target {
        Target::Family(call) => match families.leader(call) {
            Some(leader) => to_leader(leader, signal),
            None => Ok(()),
        },
        Target::Pid(pid) => find(table, pid).and_then(|process| match families.led_by(process.pid) {
            Some(_) => to_leader(process.pid, signal),
            None => to_process(table, &process, signal),
        }),
    };
    match sent {
        Ok(()) => Ok(()),
        Err(errno) => Err(failed(errno)),
    }
}

/// The VM's process with that pid. ESRCH for init, for the id of a thread, and if there is none.
pub fn find(table: &ProcessTable, pid: u32) -> Result<Process, Errno> {
    let pid = pid_t::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let process = table.get(pid).filter(|_| pid > 0).ok_or(Errno::ESRCH)?;
    if !table.contains(&process) {
        return Err(Errno::ESRCH);
    }
    // `/proc/<id>` also exists for a thread's id, although listings do not contain it.
    sys::pidfd_open(pid).map(|_| process)
}

/// Sends `signal` to exactly this process, not to a later one with the same pid. It is no error if the process has
/// ended.
pub fn to_exactly(table: &ProcessTable, process: &Process, signal: c_int) -> Result<(), Errno> {
    let pidfd = match sys::pidfd_open(process.pid) {
        Ok(pidfd) => pidfd,
        Err(Errno::ESRCH) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    // The descriptor refers to the process that has the pid now; the start time shows whether that is still the same
    // process.
    if table
        .get(process.pid)
        .is_none_or(|now| now.start != process.start)
    {
        return Ok(());
    }
    match sys::pidfd_send_signal(pidfd.as_fd(), signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// A failure to signal.
pub fn failed(errno: Errno) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: "kill".into(),
        path: None,
    }
}

/// The pid stays the leader's until the leader is reaped, and a session's first process always leads its group.
fn to_leader(leader: pid_t, signal: c_int) -> Result<(), Errno> {
    match sys::kill_group(leader, signal) {
        Ok(()) | Err(Errno::ESRCH) => Ok(()),
        Err(errno) => Err(errno),
    }
}

fn to_process(table: &ProcessTable, process: &Process, signal: c_int) -> Result<(), Errno> {
    if process.pgid != process.pid {
        return to_exactly(table, process, signal);
    }
    // A descriptor cannot refer to a group, so the pid is checked as late as possible.
    match table.get(process.pid) {
        Some(now) if now.start == process.start => match sys::kill_group(process.pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno),
        },
        _ => Ok(()),
    }
}
