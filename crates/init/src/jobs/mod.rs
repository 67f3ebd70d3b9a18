//! What takes more than one step: killing until nothing is left, and hanging up.
//!
//! Each job makes a pass now and then, between which the loop serves everybody else; a pass is bounded by the number of
//! the VM's processes. A job that does not come to its end within [`DEADLINE`] is answered with ETIMEDOUT.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Background, Call, Reply, Target};
use libc::pid_t;
use nix::errno::Errno;

use crate::family::{Families, background, is_settled};
use crate::process_table::{Process, ProcessTable, descendants};
use crate::signal;
use crate::sys::Reaped;

/// How long a job goes on. What a SIGKILL does not end within it hangs in the kernel.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long a session has to end by itself once it is hung up.
const GRACE: Duration = Duration::from_secs(2);

/// How long the end of a family's first process is held back for the sake of the names of what it left: just after
/// `command &` the command is still a copy of the shell.
const SETTLE: Duration = Duration::from_millis(10);

/// How much longer where it waits for a processor to do so: it is then not the command's choice.
const SETTLE_BUSY: Duration = Duration::from_millis(190);

/// Between passes, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// Passes that stop what is newly found before all of it is killed. What is stopped forks no more, so a few settle it.
const STOPPING_PASSES: u32 = 16;

/// The jobs under way.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    call: Call,
    kind: Kind,
    due: Instant,
    pause: Duration,
    deadline: Instant,
}

#[derive(Debug)]
enum Kind {
    /// Kill a family that a cgroup names; once, and again from then on.
    Family { family: Call, again: Instant },
    /// Kill what has to be searched for.
    Search(Search),
    /// Hang up a session.
    HangUp {
        family: Call,
        session: pid_t,
        hung_up: bool,
        kill_at: Instant,
    },
    /// Tell the end of a family's first process, once what it left has executed something.
    End {
        reaped: Reaped,
        left: Vec<Process>,
        until: Instant,
    },
}

impl Jobs {
    /// Begins to kill a target and all that it started.
    pub fn kill(
        &mut self,
        call: Call,
        target: Target,
        families: &Families,
        table: &ProcessTable,
    ) -> Result<(), Errno> {
        families.will_be_killed(target);
        let family = match target {
            Target::Family(family) => Some(family),
            Target::Pid(pid) => families.led_by(signal::find(table, pid)?.pid),
        };
        let kind = match (family, target) {
            (Some(family), _) if families.has_cgroups() => Kind::Family {
                family,
                again: Instant::now(),
            },
            (Some(family), _) => Kind::Search(Search::new(Whom::Family(family))),
            (None, Target::Pid(pid)) => {
                let root = signal::find(table, pid)?;
                Kind::Search(Search::new(Whom::Tree([(root.pid, root.start)].into())))
            }
            (None, Target::Family(_)) => return Err(Errno::ESRCH),
        };
        self.begin(call, kind, DEADLINE);
        Ok(())
    }

    /// Begins to hang up the session that a family's first process leads; nothing to do once that has ended. One that is
    /// being hung up already is not told twice, and has no more time for it.
    pub fn hang_up(&mut self, call: Call, family: Call, families: &Families) -> bool {
        let Some(session) = families.leader(family) else {
            return false;
        };
        let begun = self.jobs.iter().find_map(|job| match job.kind {
            Kind::HangUp {
                family: other,
                kill_at,
                ..
            } if other == family => Some(kill_at),
            _ => None,
        });
        let kill_at = begun.unwrap_or_else(|| Instant::now() + GRACE);
        self.begin(
            call,
            Kind::HangUp {
                family,
                session,
                hung_up: begun.is_some(),
                kill_at,
            },
            GRACE + DEADLINE,
        );
        true
    }

    /// Tells the end of a family's first process a little later.
    pub fn tell_end(&mut self, call: Call, reaped: Reaped) {
        let until = Instant::now() + SETTLE;
        self.begin(
            call,
            Kind::End {
                reaped,
                left: Vec::new(),
                until,
            },
            DEADLINE,
        );
    }

    fn begin(&mut self, call: Call, kind: Kind, time: Duration) {
        let now = Instant::now();
        self.jobs.push(Job {
            call,
            kind,
            due: now,
            pause: FIRST_PAUSE,
            deadline: now + time,
        });
    }

    /// When the next pass is due.
    pub fn due(&self) -> Option<Instant> {
        self.jobs.iter().map(|job| job.due).min()
    }

    /// Makes the passes that are due and returns the answers of what came to its end.
    pub fn run(&mut self, families: &Families, table: &ProcessTable) -> Vec<Reply> {
        let now = Instant::now();
        let mut replies = Vec::new();
        let mut everybody = Everybody { table, found: None };
        self.jobs.retain_mut(|job| {
            if job.due > now {
                return true;
            }
            let reply = match job.kind.pass(job.call, families, &mut everybody, now) {
                Ok(true) => job.kind.reply(job.call, table),
                Ok(false) if now < job.deadline => {
                    job.due = now + job.pause;
                    job.pause = (job.pause * 2).min(LONGEST_PAUSE);
                    return true;
                }
                Ok(false) => Reply::Failed {
                    call: job.call,
                    error: signal::failed(Errno::ETIMEDOUT),
                },
                Err(errno) => Reply::Failed {
                    call: job.call,
                    error: signal::failed(errno),
                },
            };
            replies.push(reply);
            false
        });
        replies
    }

    /// Makes cheap passes due at once, because something has ended.
    pub fn nudge(&mut self) {
        let now = Instant::now();
        for job in &mut self.jobs {
            if matches!(job.kind, Kind::Family { .. }) {
                job.due = now;
            }
        }
    }
}

impl Kind {
    /// One pass; true when nothing is left to do.
    fn pass(
        &mut self,
        call: Call,
        families: &Families,
        everybody: &mut Everybody<'_>,
        now: Instant,
    ) -> Result<bool, Errno> {
        let table = everybody.table;
        match self {
            Self::Family { family, again } => {
                let Some(leaf) = families.leaf(*family) else {
                    return Ok(true);
                };
                if leaf.is_populated()? {
                    // Not at every end of one of thousands: what the kernel has been told to kill, it kills.
                    if now < *again {
                        return Ok(false);
                    }
                    *again = now + LONGEST_PAUSE;
                    leaf.kill()?;
                    // The kernel's kill passes over a process whose first thread has ended before the others.
                    for process in leaf.pids()?.into_iter().filter_map(|pid| table.get(pid)) {
                        signal::to_exactly(table, &process, libc::SIGKILL)?;
                    }
                    return Ok(false);
                }
                // Nothing lives; its end is yet to be told.
                Ok(families.leader(*family).is_none())
            }
            Self::Search(search) => search.pass(families, table),
            Self::End { reaped, left, until } => {
                // Its end is told even if nothing is known of what it left.
                *left = families.left(call, reaped.pid, table).unwrap_or_default();
                let mut unsettled = left
                    .iter()
                    .filter(|process| !is_settled(process, table))
                    .peekable();
                if unsettled.peek().is_none() || now >= *until + SETTLE_BUSY {
                    return Ok(true);
                }
                Ok(now >= *until && !unsettled.any(Process::is_runnable))
            }
            Self::HangUp {
                family,
                session,
                hung_up,
                kill_at,
            } => {
                let members = session_members(*family, *session, families, everybody)?;
                if members.is_empty() {
                    return Ok(families.leader(*family) != Some(*session));
                }
                for process in &members {
                    if !*hung_up {
                        signal::to_exactly(table, process, libc::SIGHUP)?;
                        signal::to_exactly(table, process, libc::SIGCONT)?;
                    } else if now >= *kill_at {
                        families.will_be_killed(Target::Family(*family));
                        signal::to_exactly(table, process, libc::SIGKILL)?;
                    }
                }
                *hung_up = true;
                Ok(false)
            }
        }
    }
}

impl Kind {
    /// What the host is told when the job has come to its end.
    fn reply(&self, call: Call, table: &ProcessTable) -> Reply {
        match self {
            Self::End { reaped, left, .. } => exited(call, reaped, background(left, table)),
            Self::Family { .. } | Self::Search(_) | Self::HangUp { .. } => Reply::Done { call },
        }
    }
}

/// The end of a family's first process.
pub fn exited(call: Call, reaped: &Reaped, background: Vec<Background>) -> Reply {
    Reply::Exited {
        call,
        code: reaped.code,
        signal: reaped.signal,
        oom: reaped.oom,
        usage: reaped.usage,
        background,
    }
}

/// The living processes of a session.
fn session_members(
    family: Call,
    session: pid_t,
    families: &Families,
    everybody: &mut Everybody<'_>,
) -> Result<Vec<Process>, Errno> {
    let is_member = |process: &Process| process.sid == session && process.is_alive();
    Ok(match families.leaf(family) {
        // A session of the family's has left no process in another cgroup.
        Some(leaf) => leaf
            .pids()?
            .into_iter()
            .filter_map(|pid| everybody.table.get(pid))
            .filter(is_member)
            .collect(),
        // With cgroups, a family that is forgotten is empty.
        None if families.has_cgroups() => Vec::new(),
        None => everybody
            .all()
            .iter()
            .filter(|process| is_member(process))
            .copied()
            .collect(),
    })
}

/// Every process of the VM, as the first job of a turn that needs them finds them. A thousand sessions that are hung up at
/// once would otherwise read the table a thousand times each.
struct Everybody<'table> {
    table: &'table ProcessTable,
    found: Option<Vec<Process>>,
}

impl Everybody<'_> {
    fn all(&mut self) -> &[Process] {
        self.found.get_or_insert_with(|| self.table.all())
    }
}

/// Kills what no cgroup names: stop all of it, so that it starts nothing more and nobody's parent changes; kill it; look
/// again until two passes find nothing.
#[derive(Debug)]
struct Search {
    whom: Whom,
    stopped: BTreeMap<pid_t, Process>,
    stopping_passes: u32,
    empty_passes: u32,
}

#[derive(Debug)]
enum Whom {
    /// What belongs to a family.
    Family(Call),
    /// What descends from these, each with its start time.
    Tree(BTreeMap<pid_t, u64>),
}

impl Search {
    fn new(whom: Whom) -> Self {
        Self {
            whom,
            stopped: BTreeMap::new(),
            stopping_passes: 0,
            empty_passes: 0,
        }
    }

    fn pass(&mut self, families: &Families, table: &ProcessTable) -> Result<bool, Errno> {
        let found = self.find(families, table);
        if found.is_empty() {
            self.empty_passes += 1;
            return Ok(self.empty_passes >= 2);
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
                let roots = processes
                    .iter()
                    .filter(|p| known.get(&p.pid) == Some(&p.start))
                    .map(|p| p.pid)
                    .collect();
                let members = descendants(&processes, roots);
                processes.retain(|p| members.contains(&p.pid));
                known.extend(processes.iter().map(|p| (p.pid, p.start)));
                processes.retain(Process::is_alive);
                processes
            }
        }
    }
}
