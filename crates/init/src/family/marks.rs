//! The marks that identify a family's processes where no cgroup does.
//!
//! A mark is a value of a resource limit that the kernel has not enforced since Linux 2.4.25: the one on file locks
//! (`RLIMIT_LOCKS`). Every process inherits it, through `execve` too, and any process may read it, without the lock of
//! the marked process's memory, which a program can hold for as long as it likes. The filter ([`seccomp`](crate::seccomp))
//! lets no program set that limit, so no program leaves its family or enters another.

use std::collections::{BTreeMap, BTreeSet};

use agent_vm_protocol::message::Call;
use libc::pid_t;
use nix::errno::Errno;

use super::sys;
use crate::process_table::{Process, ProcessTable, descendants};

/// How many of a mark's bits are the family's number, which begins again after a million million families.
const CALL_BITS: u32 = 40;

/// The position of a mark's highest bit: as high as the server's own limit permits, and high enough to leave this many
/// bits for the salt.
const HIGHEST: u32 = 62;
const LOWEST: u32 = CALL_BITS + 16;

/// The marks of one VM's families.
#[derive(Debug)]
pub struct Marks {
    /// The bits above the family's number, which distinguish this VM's marks from those of a VM inside it. `None` if
    /// programs cannot be marked.
    prefix: Option<u64>,
}

impl Marks {
    /// Marks for a VM whose cgroups identify the families.
    pub fn none() -> Self {
        Self { prefix: None }
    }

    /// Marks with `salt`. EPERM if this process's own hard limit is lower than any mark.
    ///
    /// In a sandbox that does not let processes set this limit, programs stay unmarked. A process that has left its
    /// session and its parents is then found only at the end of the VM.
    pub fn new(salt: u64) -> Result<Self, Errno> {
        let (soft, hard) = sys::lock_limits()?;
        let highest = (LOWEST..=HIGHEST)
            .rev()
            .find(|&bit| hard >> bit > 1)
            .ok_or(Errno::EPERM)?;
        let salt = salt % (1 << (highest - CALL_BITS));
        let prefix = (1 << (highest - CALL_BITS)) | salt;
        // A soft limit can be set back.
        let probe = prefix << CALL_BITS;
        let is_set = sys::set_lock_limits(probe, hard).is_ok() && sys::lock_limits()? == (probe, hard);
        if is_set {
            sys::set_lock_limits(soft, hard)?;
        }
        Ok(Self {
            prefix: is_set.then_some(prefix),
        })
    }

    /// The mark of a family's processes.
    pub fn of(&self, call: Call) -> Option<u64> {
        self.prefix
            .map(|prefix| (prefix << CALL_BITS) | (call % (1 << CALL_BITS)))
    }

    /// The family of a process, by its mark.
    fn family(&self, process: &Process, table: &ProcessTable) -> Option<Call> {
        let prefix = self.prefix?;
        let mark = table.lock_limit(process.pid)?;
        (mark >> CALL_BITS == prefix).then_some(mark % (1 << CALL_BITS))
    }

    /// The living processes of a family: those with its mark, those in the session and group of its first process while
    /// these ids are still its own, and their descendants.
    pub fn members(&self, call: Call, leader: Option<pid_t>, table: &ProcessTable) -> Vec<Process> {
        let number = call % (1 << CALL_BITS);
        let processes = table.all();
        let of_leader =
            |p: &Process| leader.is_some_and(|leader| p.pid == leader || p.sid == leader || p.pgid == leader);
        let (by_number, rest): (Vec<Process>, Vec<Process>) = processes.iter().partition(|p| of_leader(p));
        let mut roots: BTreeSet<pid_t> = by_number.iter().map(|p| p.pid).collect();
        // Only of processes that are not known as descendants: most are.
        let known = descendants(&processes, roots.clone());
        let unknown = rest.iter().filter(|p| p.is_alive() && !known.contains(&p.pid));
        roots.extend(
            unknown
                .filter(|p| self.family(p, table) == Some(number))
                .map(|p| p.pid),
        );
        let members = descendants(&processes, roots);
        processes
            .into_iter()
            .filter(|p| p.is_alive() && members.contains(&p.pid))
            .collect()
    }

    /// The families with living processes, by their marks, by the sessions and groups of the first processes in
    /// `by_leader`, and by descent. `None` if a process lives that none of these assigns to a family: it may belong to
    /// any.
    pub fn living(&self, by_leader: &BTreeMap<pid_t, Call>, table: &ProcessTable) -> Option<BTreeSet<Call>> {
        let processes = table.all();
        let mut assigned = BTreeSet::new();
        let mut living = BTreeSet::new();
        for process in processes.iter().filter(|process| process.is_alive()) {
            let numbers = [process.pid, process.sid, process.pgid];
            let led = numbers.iter().filter_map(|number| by_leader.get(number));
            let marked = self.family(process, table);
            let families: Vec<Call> = led.copied().chain(marked).collect();
            if !families.is_empty() {
                assigned.insert(process.pid);
                living.extend(families);
            }
        }
        let assigned = descendants(&processes, assigned);
        let mut rest = processes.iter().filter(|process| process.is_alive());
        let is_any_unassigned = rest.any(|process| !assigned.contains(&process.pid));
        (!is_any_unassigned).then_some(living)
    }
}
