//! Families: all that one spawned program has started, for as long as any of it may be left.
//!
//! With a cgroup, the family is what is in it. Without one, it is the session and the group of its first process (while
//! those numbers are its own), what descends from it, and every process that carries the family's mark in its
//! environment; a process that forks twice, leaves the session and clears its environment is then found only by the end
//! of the VM.

mod awaited;
mod background;
mod cgroup;
mod cgroup_file;
mod cgroups;
mod marks;
pub mod memory;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::Instant;

use agent_vm_protocol::message::{Call, Target};
use libc::pid_t;
use nix::errno::Errno;

pub use self::background::{background, is_settled};
pub use self::cgroups::{Cgrouping, FamilyCgroups};
pub use self::marks::MARKER;

use self::awaited::Awaited;
use self::cgroup::Leaf;
use self::cgroups::CgroupPools;
use self::marks::Marks;
use crate::process_table::{Process, ProcessTable};
use crate::sys::{self, Reaped};

/// Families that have ended but are not empty are looked at this many at a time.
const SWEEP: usize = 16;

/// One family.
#[derive(Debug)]
pub struct Family {
    /// Its first process, whose session and group bear the same number; `None` once that is reaped.
    pub leader: Option<pid_t>,
    /// Whether its end says what is left.
    pub report_background: bool,
    /// Its terminal, held open until its first process is reaped.
    terminal_fd: Option<OwnedFd>,
    cgroups: FamilyCgroups,
    /// Whether a SIGKILL was sent to it on the host's behalf.
    killed: Cell<bool>,
}

/// All of them.
#[derive(Debug)]
pub struct Families {
    known: BTreeMap<Call, Family>,
    leaders: BTreeMap<pid_t, Call>,
    pools: CgroupPools,
    marks: Marks,
    swept: Call,
    awaited: Awaited,
}

impl Families {
    /// None yet.
    pub fn new(cgrouping: Cgrouping, salt: u64) -> Self {
        Self {
            known: BTreeMap::new(),
            leaders: BTreeMap::new(),
            pools: CgroupPools::new(cgrouping),
            marks: Marks::new(salt),
            swept: 0,
            awaited: Awaited::default(),
        }
    }

    /// The cgroups for a family that is about to start.
    pub fn take_cgroups(&mut self) -> Result<FamilyCgroups, Errno> {
        self.pools.take()
    }

    /// Takes back those of a family that did not start.
    pub fn give_back_cgroups(&mut self, cgroups: FamilyCgroups) -> Result<(), Errno> {
        self.pools.give_back(cgroups)
    }

    /// Forgets idle directories that somebody on the host has removed.
    pub fn forget_removed(&mut self) {
        self.pools.forget_removed();
    }

    /// Does ahead what the next family will need.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        self.pools.prepare()
    }

    /// The value of [`MARKER`] for a family's processes, where no cgroup serves.
    pub fn mark(&self, call: Call) -> Option<String> {
        (!self.has_cgroups()).then(|| self.marks.of(call))
    }

    /// Enters a family whose first process runs, in the terminal that `terminal_fd` holds open if in any.
    pub fn enter(
        &mut self,
        call: Call,
        leader: pid_t,
        terminal_fd: Option<OwnedFd>,
        cgroups: FamilyCgroups,
        report_background: bool,
    ) {
        self.leaders.insert(leader, call);
        self.known.insert(
            call,
            Family {
                leader: Some(leader),
                report_background,
                terminal_fd,
                cgroups,
                killed: Cell::new(false),
            },
        );
    }

    /// The family that `pid` is the living first process of.
    pub fn led_by(&self, pid: pid_t) -> Option<Call> {
        self.leaders.get(&pid).copied()
    }

    /// The living first process of a family.
    pub fn leader(&self, call: Call) -> Option<pid_t> {
        self.known.get(&call)?.leader
    }

    /// How many first processes of families run.
    pub fn running(&self) -> usize {
        self.leaders.len()
    }

    /// The cgroup of a family, while anything of it may be left.
    pub fn leaf(&self, call: Call) -> Option<&Leaf> {
        self.known.get(&call)?.cgroups.leaf.as_ref()
    }

    /// Takes note that the host has a SIGKILL sent.
    pub fn will_be_killed(&self, target: Target) {
        let call = match target {
            Target::Family(call) => Some(call),
            Target::Pid(pid) => pid_t::try_from(pid).ok().and_then(|pid| self.led_by(pid)),
        };
        if let Some(family) = call.and_then(|call| self.known.get(&call)) {
            family.killed.set(true);
        }
    }

    /// Whether the kernel killed the first process of a family, just reaped, for want of memory; or a part of the family,
    /// whose end that process passes on as its own, as a shell does. To be asked before [`leader_ended`](Self::leader_ended).
    ///
    /// The kernel counts what it kills by cgroup and names no process, so a family in which it has killed something, and
    /// whose first process then dies of somebody's SIGKILL from inside, counts as well.
    pub fn lacked_memory(&self, call: Call, reaped: &Reaped) -> Result<bool, Errno> {
        let killed = 128 + libc::SIGKILL;
        let Some(family) = self.known.get(&call).filter(|_| reaped.code == killed) else {
            return Ok(false);
        };
        if family.killed.get() {
            return Ok(false);
        }
        Ok(family.cgroups.kills()? > 0)
    }

    /// Whether cgroups serve.
    pub fn has_cgroups(&self) -> bool {
        self.pools.name_families()
    }

    /// Takes note that the first process of a family was reaped, and returns what it left, where that was asked for.
    pub fn leader_ended(&mut self, call: Call, table: &ProcessTable) -> Result<Vec<Process>, Errno> {
        let Some(family) = self.known.get_mut(&call) else {
            return Ok(Vec::new());
        };
        let Some(leader) = family.leader.take() else {
            return Ok(Vec::new());
        };
        let report = family.report_background;
        family.terminal_fd = None;
        self.leaders.remove(&leader);
        match &family.cgroups.leaf {
            _ if !sys::has_children() => self.forget(call)?,
            Some(leaf) if leaf.is_populated()? => {
                if report {
                    return self.left(call, leader, table);
                }
            }
            Some(_) => self.forget(call)?,
            None => {
                // Nothing is kept: the mark is all that names what may be left.
                self.forget(call)?;
                if report && self.has_orphans(table) {
                    return self.left(call, leader, table);
                }
            }
        }
        Ok(Vec::new())
    }

    /// What is left of a family whose first process, once `leader`, has just ended.
    pub fn left(&self, call: Call, leader: pid_t, table: &ProcessTable) -> Result<Vec<Process>, Errno> {
        let mut left = match self.leaf(call) {
            Some(leaf) => leaf
                .pids()?
                .into_iter()
                .filter_map(|pid| table.get(pid))
                .collect(),
            None => self.marked(call, Some(leader), table),
        };
        left.retain(Process::is_alive);
        Ok(left)
    }

    /// What belongs to a family, where no cgroup serves.
    pub fn marked(&self, call: Call, leader: Option<pid_t>, table: &ProcessTable) -> Vec<Process> {
        if self.has_cgroups() {
            return Vec::new();
        }
        self.marks.members(call, leader, table)
    }

    /// Whether a process that may belong to any family is in the middle of `execve`: for that moment it shows no mark, and where what
    /// started it has ended, nothing else assigns it.
    pub fn is_any_unassignable(&self, table: &ProcessTable) -> bool {
        let orphans: Vec<Process> = match table.children_of_init() {
            Some(children) => children.into_iter().filter_map(|pid| table.get(pid)).collect(),
            None => table.all(),
        };
        orphans
            .iter()
            .filter(|process| process.is_alive() && !self.leaders.contains_key(&process.pid))
            .any(|process| table.command_line(process.pid, 1).is_empty())
    }

    /// Frees what families that have ended held and that is empty by now. To be called when orphans were reaped.
    pub fn sweep(&mut self) -> Result<(), Errno> {
        let ended = |(call, family): (&Call, &Family)| family.leader.is_none().then_some(*call);
        let after: Vec<Call> = self
            .known
            .range(self.swept..)
            .filter_map(ended)
            .take(SWEEP)
            .collect();
        self.swept = if after.len() < SWEEP {
            0
        } else {
            after.last().map_or(0, |last| last + 1)
        };
        for call in after {
            if let Some(leaf) = self.leaf(call)
                && !leaf.is_populated()?
            {
                self.forget(call)?;
            }
        }
        Ok(())
    }

    /// The request `call` waits for the end of `family`, whose first process has or had the number `leader`.
    pub fn await_end(&mut self, call: Call, family: Call, leader: u32) {
        self.awaited.add(call, family, leader as pid_t);
    }

    /// Whether that request still waits; from now on it does not.
    pub fn stop_awaiting(&mut self, call: Call) -> bool {
        self.awaited.remove(call)
    }

    /// Takes note that something has ended that was not the first process of a family.
    pub fn orphans_ended(&mut self) {
        self.awaited.changed();
    }

    /// When [`ended`](Self::ended) has something to look at, if it has.
    pub fn due(&self) -> Option<Instant> {
        self.awaited.due()
    }

    /// The requests whose families have come to their end since they were last asked for.
    pub fn ended(&mut self, table: &ProcessTable) -> Vec<Call> {
        let begun = Instant::now();
        if self.awaited.due().is_none_or(|due| due > begun) {
            return Vec::new();
        }
        let (ended, is_known) = match self.living(table) {
            Some(living) => (self.awaited.without(&living), true),
            None => (Vec::new(), false),
        };
        for call in &ended {
            self.awaited.remove(*call);
        }
        self.awaited.looked(begun, is_known);
        ended
    }

    /// The families that are awaited and of which something lives. None where a process lives that may be of any.
    fn living(&self, table: &ProcessTable) -> Option<BTreeSet<Call>> {
        if !sys::has_children() {
            return Some(BTreeSet::new());
        }
        if !self.has_cgroups() {
            let led = self.leaders.iter().map(|(leader, call)| (*leader, *call));
            let awaited = self.awaited.families().map(|(call, leader)| (leader, call));
            return self.marks.living(&awaited.chain(led).collect(), table);
        }
        let lives = |call: &Call| {
            self.known.get(call).is_some_and(|family| {
                // One that cannot be looked at now is looked at again.
                let is_populated = |leaf: &Leaf| leaf.is_populated().unwrap_or(true);
                family.leader.is_some() || family.cgroups.leaf.as_ref().is_some_and(is_populated)
            })
        };
        Some(
            self.awaited
                .families()
                .map(|(call, _)| call)
                .filter(lives)
                .collect(),
        )
    }

    fn forget(&mut self, call: Call) -> Result<(), Errno> {
        match self.known.remove(&call) {
            Some(family) => self.pools.give_back(family.cgroups),
            None => Ok(()),
        }
    }

    /// Whether init has children that are not first processes of families: only then can anything be left of one that
    /// has ended.
    fn has_orphans(&self, table: &ProcessTable) -> bool {
        let Some(children) = table.children_of_init() else {
            return true;
        };
        children.iter().any(|pid| !self.leaders.contains_key(pid))
    }
}
