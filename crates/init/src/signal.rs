//! Signals on the host's behalf. Nothing here reaches init itself or everybody at once.

use std::os::fd::AsFd;

use agent_vm_protocol::message::{Failure, Target};
use libc::{c_int, pid_t};
use nix::errno::Errno;

use crate::family::Families;
use crate::process_table::{Process, ProcessTable};
use crate::sys;

/// Sends `signal` to the target: to the group that it leads, or else to it alone.
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

/// The process of the VM that has that number; init, a thread's number and what is not there are ESRCH.
pub fn find(table: &ProcessTable, pid: u32) -> Result<Process, Errno> {
    let pid = pid_t::try_from(pid).map_err(|_| Errno::ESRCH)?;
    let process = table.get(pid).filter(|_| pid > 0).ok_or(Errno::ESRCH)?;
    if !table.contains(&process) {
        return Err(Errno::ESRCH);
    }
    // `/proc/<number>` exists for a thread's number too, although listings do not contain it.
    sys::pidfd_open(pid).map(|_| process)
}

/// Sends `signal` to exactly that process, not to a later one of the same number. One that has ended is no error.
pub fn to_exactly(table: &ProcessTable, process: &Process, signal: c_int) -> Result<(), Errno> {
    let pidfd = match sys::pidfd_open(process.pid) {
        Ok(pidfd) => pidfd,
        Err(Errno::ESRCH) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    // The descriptor names the process that has the number now; the start time says whether that is still the same one.
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

/// The number is the leader's for as long as it is not reaped, and a session's first process leads its group for good.
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
    // The descriptor cannot name a group, so the number is checked as late as can be.
    match table.get(process.pid) {
        Some(now) if now.start == process.start => match sys::kill_group(process.pid, signal) {
            Ok(()) | Err(Errno::ESRCH) => Ok(()),
            Err(errno) => Err(errno),
        },
        _ => Ok(()),
    }
}
