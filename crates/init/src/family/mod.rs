//! Families: everything that one spawned program has started, while any of it may be left.
//!
//! With a cgroup, the family is the processes in it. Without one, it is every process with the family's mark
//! ([`marks`]), the session and the group of its first process (while these ids are still its own), and the descendants
//! of all these.

mod awaited;
mod background;
mod cgroup;
mod cgroup_file;
mod cgroups;
mod marks;
pub mod memory;
pub mod sys;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::Instant;

use agent_vm_protocol::message::{Call, Target};
use libc::pid_t;
use nix::errno::Errno;

pub use self::background::background;
pub use self::cgroups::{Cgrouping, FamilyCgroups};

use self::awaited::Awaited;
use self::cgroup::Leaf;
use self::cgroups::CgroupPools;
use self::marks::Marks;
use crate::process_table::{Process, ProcessTable};
use crate::sys::{Reaped, has_children};

/// How many ended families that are not empty are checked at a time.
const SWEEP: usize = 16;

/// How many times init looks for what a family left, while its own children change.
const LOOKS: u32 = 4;

/// One family.
#[derive(Debug)]
pub struct Family {
    /// Its first process, whose session and group have the same id; `None` once it is reaped.
    pub leader: Option<pid_t>,
    /// Whether its end reports the processes that are left.
    pub report_background: bool,
    /// Its terminal, kept open until its first process is reaped.
    terminal_fd: Option<OwnedFd>,
    cgroups: FamilyCgroups,
    /// Whether the host has had a SIGKILL sent to it.
    killed: Cell<bool>,
}

/// All families of the VM.
#[derive(Debug)]
pub struct Families {
    known: BTreeMap<Call, Family>,
    leaders: BTreeMap<pid_t, Call>,
    pools: CgroupPools,
    marks: Marks,
    swept: Call,
    awaited: Awaited,
    frozen: bool,
}

impl Families {
    /// No family yet. `salt` distinguishes this VM's marks. EPERM if no cgroup identifies families and the server's own
    /// limit does not let init mark them.
    pub fn new(cgrouping: Cgrouping, salt: u64) -> Result<Self, Errno> {
        let pools = CgroupPools::new(cgrouping);
        let marks = if pools.name_families() {
            Marks::none()
        } else {
            Marks::new(salt)?
        };
        Ok(Self {
            known: BTreeMap::new(),
            leaders: BTreeMap::new(),
            pools,
            marks,
            swept: 0,
            awaited: Awaited::default(),
            frozen: false,
        })
    }

    /// The cgroups for a family that is about to start.
    pub fn take_cgroups(&mut self) -> Result<FamilyCgroups, Errno> {
        self.pools.take()
    }

    /// Takes back the cgroups of a family that did not start.
    pub fn give_back_cgroups(&mut self, cgroups: FamilyCgroups) -> Result<(), Errno> {
        self.pools.give_back(cgroups)
    }

    /// Forgets idle directories that somebody on the host has removed.
    pub fn forget_removed(&mut self) {
        self.pools.forget_removed();
    }

    /// Makes what the next family will need.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        self.pools.prepare()
    }

    /// The limit on file locks for a family's processes, if no cgroup identifies them.
    pub fn mark(&self, call: Call) -> Option<u64> {
        self.marks.of(call)
    }

    /// Adds a family whose first process runs; `terminal_fd` keeps its terminal open, if it has one.
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

    /// The family whose living first process is `pid`.
    pub fn led_by(&self, pid: pid_t) -> Option<Call> {
        self.leaders.get(&pid).copied()
    }

    /// The living first process of a family.
    pub fn leader(&self, call: Call) -> Option<pid_t> {
        self.known.get(&call)?.leader
    }

    /// How many families' first processes run.
    pub fn running(&self) -> usize {
        self.leaders.len()
    }

    /// The cgroup of a family, while any of its processes may be left.
    pub fn leaf(&self, call: Call) -> Option<&Leaf> {
        self.known.get(&call)?.cgroups.leaf.as_ref()
    }

    /// Records that the host will have a SIGKILL sent.
    pub fn will_be_killed(&self, target: Target) {
        let call = match target {
            Target::Family(call) => Some(call),
            Target::Pid(pid) => pid_t::try_from(pid).ok().and_then(|pid| self.led_by(pid)),
        };
        if let Some(family) = call.and_then(|call| self.known.get(&call)) {
            family.killed.set(true);
        }
    }

    /// Whether the kernel killed the first process of a family, which was just reaped, because memory ran out; or
    /// another process of the family whose end the first process passes on as its own, as a shell does. Must be called
    /// before [`leader_ended`](Self::leader_ended).
    ///
    /// The kernel counts its kills for each cgroup and does not name the processes. So a family also counts if the
    /// kernel has killed some process in it, and its first process is then killed by a SIGKILL from within the VM.
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

    /// Freezes all families, or lets them run again. Returns whether all are in that state. No family must be added while they
    /// [are frozen](Self::are_frozen).
    pub fn set_frozen(&mut self, frozen: bool) -> Result<bool, Errno> {
        if !self.has_cgroups() {
            return Err(Errno::EOPNOTSUPP);
        }
        self.frozen = frozen;
        let (mut all, mut failed) = (true, None);
        for leaf in self
            .known
            .values()
            .filter_map(|family| family.cgroups.leaf.as_ref())
        {
            match leaf.set_frozen(frozen) {
                Ok(is_done) => all &= is_done,
                Err(errno) => failed = failed.or(Some(errno)),
            }
        }
        failed.map_or(Ok(all), Err)
    }

    /// Whether all families are frozen, or about to be.
    pub fn are_frozen(&self) -> bool {
        self.frozen
    }

    /// Whether cgroups identify families.
    pub fn has_cgroups(&self) -> bool {
        self.pools.name_families()
    }

    /// Records that the first process of a family was reaped, and returns what it left running, if that was requested.
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
            _ if !has_children() => self.forget(call)?,
            Some(leaf) if leaf.is_populated()? => {
                if report {
                    return self.left(call, leader, table);
                }
            }
            Some(_) => self.forget(call)?,
            None => {
                // The family is not kept: the mark alone identifies the processes that may be left.
                self.forget(call)?;
                if report && self.has_orphans(table) {
                    return self.left(call, leader, table);
                }
            }
        }
        Ok(Vec::new())
    }

    /// The processes that are left of a family whose first process, with the pid `leader`, has just ended.
    pub fn left(&self, call: Call, leader: pid_t, table: &ProcessTable) -> Result<Vec<Process>, Errno> {
        let Some(leaf) = self.leaf(call) else {
            return Ok(self.left_unless_moving(call, leader, table));
        };
        let processes = leaf.pids()?.into_iter().filter_map(|pid| table.get(pid));
        Ok(processes.filter(Process::is_alive).collect())
    }

    /// The same where no cgroup identifies the family. A process that has no parent left and forks and ends while the
    /// table is read is not found, nor is its child; but then init has other children than before, and looks again.
    fn left_unless_moving(&self, call: Call, leader: pid_t, table: &ProcessTable) -> Vec<Process> {
        let mut left = Vec::new();
        let mut before = table.children_of_init();
        for _ in 0..LOOKS {
            left = self.marked(call, Some(leader), table);
            let after = table.children_of_init();
            if before == after {
                break;
            }
            before = after;
        }
        left
    }

    /// The living processes of a family, where no cgroup identifies them.
    pub fn marked(&self, call: Call, leader: Option<pid_t>, table: &ProcessTable) -> Vec<Process> {
        if self.has_cgroups() {
            return Vec::new();
        }
        self.marks.members(call, leader, table)
    }

    /// Frees the cgroups of ended families that are empty by now. Called when orphans were reaped.
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

    /// The request `call` waits for the end of `family`, whose first process has or had the pid `leader`.
    pub fn await_end(&mut self, call: Call, family: Call, leader: u32) {
        self.awaited.add(call, family, leader as pid_t);
    }

    /// Removes that request; returns whether it was still waiting.
    pub fn stop_awaiting(&mut self, call: Call) -> bool {
        self.awaited.remove(call)
    }

    /// Records that a process has ended that was not the first of a family.
    pub fn orphans_ended(&mut self) {
        self.awaited.changed();
    }

    /// When [`ended`](Self::ended) has something to check, if at all.
    pub fn due(&self) -> Option<Instant> {
        self.awaited.due()
    }

    /// The requests whose families have ended since the last call.
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

    /// The awaited families with living processes. `None` if a process lives that may belong to any.
    fn living(&self, table: &ProcessTable) -> Option<BTreeSet<Call>> {
        if !has_children() {
            return Some(BTreeSet::new());
        }
        if !self.has_cgroups() {
            let led = self.leaders.iter().map(|(leader, call)| (*leader, *call));
            let awaited = self.awaited.families().map(|(call, leader)| (leader, call));
            return self.marks.living(&awaited.chain(led).collect(), table);
        }
        let lives = |call: &Call| {
            self.known.get(call).is_some_and(|family| {
                // A cgroup that cannot be read now is read again later.
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

    /// Whether init has children that are not first processes of families: only then can a family's first process have
    /// ended and left others.
    fn has_orphans(&self, table: &ProcessTable) -> bool {
        let Some(children) = table.children_of_init() else {
            return true;
        };
        children.iter().any(|pid| !self.leaders.contains_key(pid))
    }
}
