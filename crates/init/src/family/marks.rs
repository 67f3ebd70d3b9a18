//! The marks in environments that identify a family's processes where no cgroup does.

use std::collections::{BTreeMap, BTreeSet};

use agent_vm_protocol::message::Call;
use libc::pid_t;

use crate::process_table::{Process, ProcessTable, descendants};

/// The environment variable that contains a family's mark where no cgroup identifies the family.
pub const MARKER: &str = "AGENT_VM_FAMILY";

/// The processes of a family, as far as they can be assigned.
#[derive(Debug, Default)]
pub struct Marked {
    /// Those that belong to it.
    pub members: Vec<Process>,
    /// Children of init that are in the middle of `execve`: their marks cannot be read, so they may belong to it too.
    pub hidden: Vec<Process>,
}

/// The marks of one VM's families.
#[derive(Debug)]
pub struct Marks {
    /// Distinguishes this VM's marks from those of another VM that shares the host's processes.
    salt: u64,
}

impl Marks {
    /// Marks that begin with `salt`.
    pub fn new(salt: u64) -> Self {
        Self { salt }
    }

    /// The value of [`MARKER`] for a family's processes.
    pub fn of(&self, call: Call) -> String {
        format!("{}{call}", self.prefix())
    }

    /// The common beginning of the marks of this VM's families.
    fn prefix(&self) -> String {
        format!("{:016x}-", self.salt)
    }

    /// The processes of a family: those with its mark, those in the session and group of its first process while these
    /// ids are still its own, and their descendants.
    pub fn members(&self, call: Call, leader: Option<pid_t>, table: &ProcessTable) -> Marked {
        let entry = format!("{MARKER}={}", self.of(call)).into_bytes();
        let processes = table.all();
        let of_leader =
            |p: &Process| leader.is_some_and(|leader| p.pid == leader || p.sid == leader || p.pgid == leader);
        let (by_number, rest): (Vec<Process>, Vec<Process>) = processes.iter().partition(|p| of_leader(p));
        let mut roots: BTreeSet<pid_t> = by_number.iter().map(|p| p.pid).collect();
        // The environment, which takes up a page of the process's memory, is read only of processes that are not known
        // as descendants.
        let known = descendants(&processes, roots.clone());
        let mut hidden = Vec::new();
        for process in rest.iter().filter(|p| p.is_alive() && !known.contains(&p.pid)) {
            match settled_environment(process, table) {
                Some(environment) if entries(&environment).any(|found| found == entry) => {
                    roots.insert(process.pid);
                }
                None if table.is_child_of_init(process) => hidden.push(*process),
                Some(_) | None => {}
            }
        }
        let members = descendants(&processes, roots);
        Marked {
            members: processes
                .into_iter()
                .filter(|p| p.is_alive() && members.contains(&p.pid))
                .collect(),
            hidden,
        }
    }

    /// The families with living processes, by their marks, by the sessions and groups of the first processes in
    /// `by_leader`, and by descent. `None` if a process lives that none of these assigns to a family: it may belong to
    /// any.
    pub fn living(&self, by_leader: &BTreeMap<pid_t, Call>, table: &ProcessTable) -> Option<BTreeSet<Call>> {
        let prefix = format!("{MARKER}={}", self.prefix()).into_bytes();
        let processes = table.all();
        let mut assigned = BTreeSet::new();
        let mut living = BTreeSet::new();
        for process in processes.iter().filter(|process| process.is_alive()) {
            let numbers = [process.pid, process.sid, process.pgid];
            let led = numbers.iter().filter_map(|number| by_leader.get(number));
            let environment = table.environment(process);
            let marked = entries(&environment).filter_map(|entry| {
                std::str::from_utf8(entry.strip_prefix(&*prefix)?)
                    .ok()?
                    .parse()
                    .ok()
            });
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

/// Its environment, which may be empty. None if it is in the middle of `execve`.
fn settled_environment(process: &Process, table: &ProcessTable) -> Option<Vec<u8>> {
    let environment = table.environment(process);
    if !environment.is_empty() {
        return Some(environment);
    }
    if table.command_line(process.pid, 1).is_empty() {
        return None;
    }
    // `execve` sets both at once. It may have ended between the two looks.
    Some(table.environment(process))
}

/// The entries (`NAME=value`) of an environment.
fn entries(environment: &[u8]) -> impl Iterator<Item = &[u8]> {
    environment.split(|&byte| byte == 0)
}
