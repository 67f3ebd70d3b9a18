//! Killing until nothing is left: by the cgroup of a family, or by searching for what was started.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, KnownProcess};
use libc::pid_t;
use nix::errno::Errno;

use super::held::Held;
use crate::family::Families;
use crate::process_table::{Process, ProcessTable, descendants};
use crate::signal;

/// The longest pause between two passes.
pub(super) const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// How many passes stop newly found processes before all of them are killed. Stopped processes do not fork, so a few
/// passes are enough.
const STOPPING_PASSES: u32 = 16;

/// Kills a family that has a cgroup: once, and again from `again` on.
#[derive(Debug)]
pub(super) struct FamilyKill {
    family: Call,
    again: Instant,
    held: Held,
}

impl FamilyKill {
    pub(super) fn of(family: Call) -> Self {
        Self {
            family,
            again: Instant::now(),
            held: Held::default(),
        }
    }

    pub(super) fn pass(
        &mut self,
        families: &Families,
        table: &ProcessTable,
        now: Instant,
    ) -> Result<bool, Errno> {
        let Some(leaf) = families.leaf(self.family) else {
            return Ok(true);
        };
        if leaf.is_populated()? {
            // Not at each end of thousands of processes: the kernel kills everything that it was asked to kill.
            if now < self.again {
                return Ok(false);
            }
            self.again = now + LONGEST_PAUSE;
            leaf.kill()?;
            // The kernel's kill skips a process whose first thread has ended before its other threads.
            for process in leaf.pids()?.into_iter().filter_map(|pid| table.get(pid)) {
                signal::to_exactly(table, &process, libc::SIGKILL)?;
            }
            return Ok(false);
        }
        let Some(leader) = families.leader(self.family) else {
            return Ok(true);
        };
        // No process lives, but the end is still to be reported.
        if now >= self.again {
            self.again = now + LONGEST_PAUSE;
            self.held.pass(leader, table, now)?;
        }
        Ok(false)
    }
}

/// How many passes must find nothing before that counts as the end, although processes start all the time.
const EMPTY_PASSES: u32 = 16;

/// Kills processes that have no cgroup. Stops all of them, so that they start nothing more and no parent changes; kills
/// them; and repeats this until two passes find nothing, the second one while nothing is started. A process that forks
/// and ends all the time could otherwise be missed: its child does not exist yet when the table is read, and the
/// process itself is gone when its turn comes.
#[derive(Debug)]
pub(super) struct Search {
    whom: Whom,
    stopped: BTreeMap<pid_t, Process>,
    stopping_passes: u32,
    empty_passes: u32,
    held: Held,
}

#[derive(Debug)]
enum Whom {
    /// What belongs to a family.
    Family(Call),
    /// What descends from these, each with its start time.
    Tree(BTreeMap<pid_t, u64>),
    /// What descends from a context's shell, whose orphans are its children, except what is spared and what descends from that.
    Shell {
        /// The shell, and what was found of its descendants: the shell may end first, and then they are init's children.
        known: BTreeMap<pid_t, u64>,
        /// The shell's number, if it is not to be killed.
        kept: Option<pid_t>,
        /// What is spared.
        spared: BTreeMap<pid_t, u64>,
    },
}

impl Search {
    /// For all that belongs to a family.
    pub(super) fn family(family: Call) -> Self {
        Self::new(Whom::Family(family))
    }

    /// For a process and what descends from it.
    pub(super) fn below(root: &Process) -> Self {
        Self::new(Whom::Tree([(root.pid, root.start)].into()))
    }

    /// For what descends from a context's shell, and with `with_shell` for the shell as well.
    pub(super) fn below_shell(shell: &Process, with_shell: bool, spared: &[KnownProcess]) -> Self {
        let spared = spared.iter().map(|process| (process.pid as pid_t, process.start));
        Self::new(Whom::Shell {
            known: [(shell.pid, shell.start)].into(),
            kept: (!with_shell).then_some(shell.pid),
            spared: spared.collect(),
        })
    }

    fn new(whom: Whom) -> Self {
        Self {
            whom,
            stopped: BTreeMap::new(),
            stopping_passes: 0,
            empty_passes: 0,
            held: Held::default(),
        }
    }

    pub(super) fn pass(
        &mut self,
        families: &Families,
        table: &ProcessTable,
        now: Instant,
    ) -> Result<bool, Errno> {
        let newest = table.newest();
        let found = self.find(families, table);
        if found.is_empty() {
            self.empty_passes += 1;
            let is_over = self.empty_passes >= 2 && newest == table.newest();
            if !is_over && self.empty_passes < EMPTY_PASSES {
                return Ok(false);
            }
            let leader = match self.whom {
                Whom::Family(call) => families.leader(call),
                Whom::Tree(_) | Whom::Shell { .. } => None,
            };
            return leader.map_or(Ok(true), |leader| self.held.pass(leader, table, now));
        }
        self.empty_passes = 0;
        self.stopping_passes += 1;
        let is_known = |p: &&Process| {
            self.stopped
                .get(&p.pid)
                .is_some_and(|known| known.start == p.start)
        };
        let (_, new): (Vec<&Process>, Vec<&Process>) = found.iter().partition(is_known);
        let new: Vec<Process> = new.into_iter().copied().collect();
        if !new.is_empty() && self.stopping_passes <= STOPPING_PASSES {
            for process in new {
                signal::to_exactly(table, &process, libc::SIGSTOP)?;
                self.stopped.insert(process.pid, process);
            }
            return Ok(false);
        }
        for process in &found {
            signal::to_exactly(table, process, libc::SIGKILL)?;
        }
        Ok(false)
    }

    fn find(&mut self, families: &Families, table: &ProcessTable) -> Vec<Process> {
        match &mut self.whom {
            Whom::Family(call) => families.marked(*call, families.leader(*call), table),
            Whom::Tree(known) => {
                let mut processes = table.all();
                let members = below(&processes, known);
                processes.retain(|p| members.contains(&p.pid));
                known.extend(processes.iter().map(|p| (p.pid, p.start)));
                processes.retain(Process::is_alive);
                processes
            }
            Whom::Shell { known, kept, spared } => {
                let mut processes = table.all();
                let members = below(&processes, known);
                let left_alone = below(&processes, spared);
                let is_left_alone = |p: &&Process| left_alone.contains(&p.pid);
                spared.extend(processes.iter().filter(is_left_alone).map(|p| (p.pid, p.start)));
                processes.retain(|p| members.contains(&p.pid) && !left_alone.contains(&p.pid));
                known.extend(processes.iter().map(|p| (p.pid, p.start)));
                processes.retain(|p| p.is_alive() && Some(p.pid) != *kept);
                processes
            }
        }
    }
}

/// Those of `processes` that are `roots`, each by its start time, or descend from them.
fn below(processes: &[Process], roots: &BTreeMap<pid_t, u64>) -> BTreeSet<pid_t> {
    let roots = processes
        .iter()
        .filter(|p| roots.get(&p.pid) == Some(&p.start))
        .map(|p| p.pid)
        .collect();
    descendants(processes, roots)
}
