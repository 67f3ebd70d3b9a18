//! Families: all that one spawned program has started, for as long as any of it may be left.
//!
//! With a cgroup, the family is what is in it. Without one, it is the session and the group of its first process (while
//! those numbers are its own), what descends from it, and every process that carries the family's mark in its
//! environment; a process that forks twice, leaves the session and clears its environment is then found only by the end
//! of the VM.

mod awaited;
mod cgroup;
pub mod memory;

use std::cell::Cell;
use std::collections::{BTreeMap, BTreeSet};
use std::os::fd::OwnedFd;
use std::time::Instant;

use agent_vm_protocol::message::{Background, Call, CgroupSetting, Target};
use libc::pid_t;
use nix::errno::Errno;

use self::awaited::Awaited;
use self::cgroup::Cgroups;
pub use self::cgroup::Leaf;
use self::memory::{MemoryCgroups, MemoryLeaf};
use crate::process_table::{Process, ProcessTable, descendants};
use crate::sys::{self, Reaped};

/// The environment variable that marks a family where no cgroup does.
pub const MARKER: &str = "AGENT_VM_FAMILY";

/// The most processes that an exit lists as left behind.
const BACKGROUND_BOUND: usize = 512;

/// The most bytes of all their command lines together, and of one. A reply then fits into one packet.
const COMMAND_BYTES: usize = 24 * 1024;
const COMMAND_BOUND: usize = 4096;

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
    place: Place,
    /// Whether a SIGKILL was sent to it on the host's behalf.
    killed: Cell<bool>,
}

/// Where a family lives, by what the host has for it.
#[derive(Debug, Default)]
pub struct Place {
    /// Names it.
    pub leaf: Option<Leaf>,
    /// Counts what is killed in it for want of memory, where `leaf` does not.
    pub memory: Option<MemoryLeaf>,
}

impl Place {
    /// Whether a directory of it was removed on the host: anybody who may can do so while nothing runs in it.
    pub fn was_removed(&self) -> bool {
        self.leaf.as_ref().is_some_and(|leaf| !leaf.exists())
            || self.memory.as_ref().is_some_and(|leaf| !leaf.exists())
    }
}

/// What the VM's families live in.
#[derive(Debug, Default)]
pub struct Cgrouping {
    /// Where their directories are made.
    pub families_fd: Option<OwnedFd>,
    /// What is written to each of them.
    pub family_settings: Vec<CgroupSetting>,
    /// Whether those count what is killed for want of memory.
    pub counts_kills: bool,
    /// Else where directories that do are made.
    pub memory_fd: Option<OwnedFd>,
    /// What is written to each of these.
    pub memory_settings: Vec<CgroupSetting>,
}

/// All of them.
#[derive(Debug)]
pub struct Families {
    known: BTreeMap<Call, Family>,
    leaders: BTreeMap<pid_t, Call>,
    cgroups: Option<Cgroups>,
    memory: Option<MemoryCgroups>,
    /// Tells this VM's marks from another's that shares the host's processes.
    salt: u64,
    swept: Call,
    awaited: Awaited,
}

impl Families {
    /// None yet.
    pub fn new(cgrouping: Cgrouping, salt: u64) -> Self {
        let counts_kills = cgrouping.counts_kills;
        Self {
            known: BTreeMap::new(),
            leaders: BTreeMap::new(),
            cgroups: cgrouping
                .families_fd
                .map(|fd| Cgroups::new(fd, counts_kills, cgrouping.family_settings)),
            memory: cgrouping
                .memory_fd
                .map(|fd| MemoryCgroups::new(fd, cgrouping.memory_settings)),
            salt,
            swept: 0,
            awaited: Awaited::default(),
        }
    }

    /// A place for a family that is about to start.
    pub fn place(&mut self) -> Result<Place, Errno> {
        let mut place = Place {
            leaf: self.cgroups.as_mut().map(Cgroups::take).transpose()?,
            memory: None,
        };
        match self.memory.as_mut().map(MemoryCgroups::take).transpose() {
            Ok(memory) => {
                place.memory = memory;
                Ok(place)
            }
            Err(errno) => {
                self.abandon(place)?;
                Err(errno)
            }
        }
    }

    /// Takes back the place of a family that did not start.
    pub fn abandon(&mut self, place: Place) -> Result<(), Errno> {
        if let (Some(memory), Some(leaf)) = (&mut self.memory, place.memory) {
            memory.give_back(leaf);
        }
        match (&mut self.cgroups, place.leaf) {
            (Some(cgroups), Some(leaf)) => cgroups.give_back(leaf),
            _ => Ok(()),
        }
    }

    /// Forgets idle directories that somebody on the host has removed.
    pub fn forget_removed(&mut self) {
        self.cgroups.iter_mut().for_each(Cgroups::forget_removed);
        self.memory.iter_mut().for_each(MemoryCgroups::forget_removed);
    }

    /// Does ahead what the next family will need.
    pub fn prepare(&mut self) -> Result<(), Errno> {
        self.cgroups.as_mut().map_or(Ok(()), Cgroups::prepare)
    }

    /// The value of [`MARKER`] for a family's processes, where no cgroup serves.
    pub fn mark(&self, call: Call) -> Option<String> {
        self.cgroups
            .is_none()
            .then(|| format!("{}{call}", self.mark_prefix()))
    }

    /// What the marks of all families of this VM begin with.
    fn mark_prefix(&self) -> String {
        format!("{:016x}-", self.salt)
    }

    /// Enters a family whose first process runs, in the terminal that `terminal_fd` holds open if in any.
    pub fn enter(
        &mut self,
        call: Call,
        leader: pid_t,
        terminal_fd: Option<OwnedFd>,
        place: Place,
        report_background: bool,
    ) {
        self.leaders.insert(leader, call);
        self.known.insert(
            call,
            Family {
                leader: Some(leader),
                report_background,
                terminal_fd,
                place,
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
        self.known.get(&call)?.place.leaf.as_ref()
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
        let kills = match &family.place {
            Place {
                memory: Some(memory), ..
            } => memory.kills()?,
            Place { leaf: Some(leaf), .. } => leaf.kills()?,
            Place { .. } => 0,
        };
        Ok(kills > 0)
    }

    /// Whether cgroups serve.
    pub fn has_cgroups(&self) -> bool {
        self.cgroups.is_some()
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
        match &family.place.leaf {
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

    /// What belongs to a family, by its mark, by the session and the group of its first process where that is still its
    /// own, and by descent.
    pub fn marked(&self, call: Call, leader: Option<pid_t>, table: &ProcessTable) -> Vec<Process> {
        let Some(mark) = self.mark(call) else {
            return Vec::new();
        };
        let entry = format!("{MARKER}={mark}").into_bytes();
        let processes = table.all();
        let of_leader =
            |p: &Process| leader.is_some_and(|leader| p.pid == leader || p.sid == leader || p.pgid == leader);
        let (by_number, rest): (Vec<Process>, Vec<Process>) = processes.iter().partition(|p| of_leader(p));
        let mut roots: BTreeSet<pid_t> = by_number.iter().map(|p| p.pid).collect();
        // Only those that descent does not find are asked for their environment, which costs a page of theirs.
        let known = descendants(&processes, roots.clone());
        let unknown = rest.iter().filter(|p| p.is_alive() && !known.contains(&p.pid));
        roots.extend(
            unknown
                .filter(|p| table.has_environment(p, &entry))
                .map(|p| p.pid),
        );
        let members = descendants(&processes, roots);
        processes
            .into_iter()
            .filter(|p| p.is_alive() && members.contains(&p.pid))
            .collect()
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
            Living::Any => (Vec::new(), false),
            Living::These(living) => (self.awaited.without(&living), true),
        };
        for call in &ended {
            self.awaited.remove(*call);
        }
        self.awaited.looked(begun, is_known);
        ended
    }

    /// The families that are awaited and of which something lives.
    fn living(&self, table: &ProcessTable) -> Living {
        if !sys::has_children() {
            return Living::These(BTreeSet::new());
        }
        if !self.has_cgroups() {
            return self.living_by_marks(table);
        }
        let lives = |call: &Call| {
            self.known.get(call).is_some_and(|family| {
                // One that cannot be looked at now is looked at again.
                let is_populated = |leaf: &Leaf| leaf.is_populated().unwrap_or(true);
                family.leader.is_some() || family.place.leaf.as_ref().is_some_and(is_populated)
            })
        };
        Living::These(
            self.awaited
                .families()
                .map(|(call, _)| call)
                .filter(lives)
                .collect(),
        )
    }

    /// The same without cgroups: by marks, by the sessions and groups of first processes, and by descent. A process that none of
    /// these assigns to a family may be of any.
    fn living_by_marks(&self, table: &ProcessTable) -> Living {
        let prefix = format!("{MARKER}={}", self.mark_prefix()).into_bytes();
        let by_leader: BTreeMap<pid_t, Call> = self
            .awaited
            .families()
            .map(|(call, leader)| (leader, call))
            .chain(self.leaders.iter().map(|(leader, call)| (*leader, *call)))
            .collect();
        let processes = table.all();
        let mut assigned = BTreeSet::new();
        let mut living = BTreeSet::new();
        for process in processes.iter().filter(|process| process.is_alive()) {
            let numbers = [process.pid, process.sid, process.pgid];
            let led = numbers.iter().filter_map(|number| by_leader.get(number));
            let marks = table.environment_with(process, &prefix);
            let marked = marks
                .iter()
                .filter_map(|rest| std::str::from_utf8(rest).ok()?.parse().ok());
            let families: Vec<Call> = led.copied().chain(marked).collect();
            if !families.is_empty() {
                assigned.insert(process.pid);
                living.extend(families);
            }
        }
        let assigned = descendants(&processes, assigned);
        let mut rest = processes.iter().filter(|process| process.is_alive());
        if rest.any(|process| !assigned.contains(&process.pid)) {
            return Living::Any;
        }
        Living::These(living)
    }

    fn forget(&mut self, call: Call) -> Result<(), Errno> {
        match self.known.remove(&call) {
            Some(family) => self.abandon(family.place),
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

/// Of which families something lives.
enum Living {
    /// Possibly of any.
    Any,
    /// Of these alone.
    These(BTreeSet<Call>),
}

/// Whether a process is past the moment between `fork` and the end of `execve`, in which it bears its parent's name or none.
pub fn is_settled(process: &Process, table: &ProcessTable) -> bool {
    !process.is_copy && !table.command_line(process.pid, 1).is_empty()
}

/// What is reported of processes that are left.
pub fn background(left: &[Process], table: &ProcessTable) -> Vec<Background> {
    let left = &left[..left.len().min(BACKGROUND_BOUND)];
    let limit = (COMMAND_BYTES / left.len().max(1)).min(COMMAND_BOUND);
    left.iter()
        .map(|p| {
            let command_line = table.command_line(p.pid, limit);
            // A program that wrote over its arguments often put a title with blanks there.
            let first = command_line.split(|&byte| byte == 0).next().unwrap_or_default();
            let (is_named, is_title) = (!first.is_empty(), first.contains(&b' '));
            let name = if is_named { Vec::new() } else { table.name(p.pid) };
            let executable = if is_named && !is_title {
                None
            } else {
                table.executable(p.pid)
            };
            Background {
                pid: p.pid as u32,
                command_line,
                name,
                executable,
            }
        })
        .collect()
}
