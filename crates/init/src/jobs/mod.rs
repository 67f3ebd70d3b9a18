//! Work that takes more than one step: killing until no process is left, and hanging up.
//!
//! Each job makes passes from time to time, between which the loop serves other requests; a pass is bounded by the
//! number of the VM's processes. A job that has not ended within [`DEADLINE`] is answered with ETIMEDOUT.

mod all_processes;
mod end;
mod hang_up;
mod held;
mod kill;

use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Failure, Interrupt, Reply, Target};
use nix::errno::Errno;

use crate::family::Families;
use crate::process_table::ProcessTable;
use crate::signal;
use crate::sys::Reaped;

use all_processes::AllProcesses;
use end::End;
pub use end::exit;
use hang_up::{GRACE, HangUp};
use kill::{FamilyKill, LONGEST_PAUSE, Search};

/// How long a job may take. A process that SIGKILL does not end in this time hangs in the kernel.
const DEADLINE: Duration = Duration::from_secs(10);

/// The first pause between two passes.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The jobs that are running.
#[derive(Debug, Default)]
pub struct Jobs {
    jobs: Vec<Job>,
}

#[derive(Debug)]
struct Job {
    call: Call,
    kind: JobKind,
    report: Report,
    due: Instant,
    pause: Duration,
    deadline: Instant,
}

/// What the host learns when a job has ended.
#[derive(Debug)]
enum Report {
    /// How it ended.
    End,
    /// Why another call has failed, for which the job was done.
    Failure(Failure),
    /// Nothing.
    Nothing,
}

#[derive(Debug)]
enum JobKind {
    /// Kills a family that has a cgroup.
    Family(FamilyKill),
    /// Kills processes that must be searched for.
    Search(Search),
    /// Hangs up a session.
    HangUp(HangUp),
    /// Reports the end of a family's first process, once the processes that it left have executed a program.
    End(End),
}

impl Jobs {
    /// Begins to kill a target and everything that it started.
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
            (Some(family), _) if families.has_cgroups() => JobKind::Family(FamilyKill::of(family)),
            (Some(family), _) => JobKind::Search(Search::family(family)),
            (None, Target::Pid(pid)) => {
                let root = signal::find(table, pid)?;
                JobKind::Search(Search::below(&root))
            }
            (None, Target::Family(_)) => return Err(Errno::ESRCH),
        };
        self.begin(call, kind, DEADLINE);
        Ok(())
    }

    /// Kills what may be left of a family whose first process has ended before the host knew of it. Then reports `failure` as
    /// the start's, if there is one.
    pub fn kill_rest(&mut self, family: Call, failure: Option<Failure>, families: &Families) {
        let kind = if families.has_cgroups() {
            JobKind::Family(FamilyKill::of(family))
        } else {
            JobKind::Search(Search::family(family))
        };
        self.begin(family, kind, DEADLINE);
        if let Some(job) = self.jobs.last_mut() {
            job.report = failure.map_or(Report::Nothing, Report::Failure);
        }
    }

    /// Begins to end what a context's shell runs; nothing to do once the shell has ended.
    pub fn interrupt(
        &mut self,
        request: &Interrupt,
        families: &Families,
        table: &ProcessTable,
    ) -> Result<bool, Errno> {
        let leader = families
            .leader(request.family)
            .and_then(|leader| table.get(leader));
        let Some(shell) = leader else {
            return Ok(false);
        };
        let with_shell = request.signal == libc::SIGKILL;
        if with_shell {
            families.will_be_killed(Target::Family(request.family));
        } else {
            signal::to_exactly(table, &shell, request.signal)?;
        }
        let search = Search::below_shell(&shell, with_shell, &request.spared);
        self.begin(request.call, JobKind::Search(search), DEADLINE);
        Ok(true)
    }

    /// Begins to hang up the session that a family's first process leads; nothing to do once that has ended. One that is
    /// being hung up already is not told twice, and has no more time for it.
    pub fn hang_up(&mut self, call: Call, family: Call, families: &Families) -> bool {
        let Some(session) = families.leader(family) else {
            return false;
        };
        let begun = self.jobs.iter().find_map(|job| match &job.kind {
            JobKind::HangUp(other) if other.family == family => Some(other),
            _ => None,
        });
        let hang_up = match begun {
            Some(begun) => begun.joined(),
            None => HangUp::of(family, session),
        };
        self.begin(call, JobKind::HangUp(hang_up), GRACE + DEADLINE);
        true
    }

    /// Reports the end of a family's first process after a short delay.
    pub fn tell_end(&mut self, call: Call, reaped: Reaped) {
        self.begin(call, JobKind::End(End::of(reaped)), DEADLINE);
    }

    fn begin(&mut self, call: Call, kind: JobKind, time: Duration) {
        let now = Instant::now();
        self.jobs.push(Job {
            call,
            kind,
            report: Report::End,
            due: now,
            pause: FIRST_PAUSE,
            deadline: now + time,
        });
    }

    /// When the next pass is due.
    pub fn due(&self) -> Option<Instant> {
        self.jobs.iter().map(|job| job.due).min()
    }

    /// Makes the passes that are due, and returns the replies of jobs that have ended.
    pub fn run(&mut self, families: &Families, table: &ProcessTable) -> Vec<Reply> {
        let now = Instant::now();
        let mut replies = Vec::new();
        let mut processes = AllProcesses::of(table);
        self.jobs.retain_mut(|job| {
            if job.due > now {
                return true;
            }
            let reply = match job.kind.pass(job.call, families, &mut processes, now) {
                Ok(true) => job.kind.reply(job.call),
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
            match std::mem::replace(&mut job.report, Report::Nothing) {
                Report::End => replies.push(reply),
                Report::Failure(error) => replies.push(Reply::Failed {
                    call: job.call,
                    error,
                }),
                Report::Nothing => {}
            }
            false
        });
        replies
    }

    /// Makes cheap passes due at once, because a process has ended.
    pub fn nudge(&mut self) {
        let now = Instant::now();
        for job in &mut self.jobs {
            if matches!(job.kind, JobKind::Family(_)) {
                job.due = now;
            }
        }
    }
}

impl JobKind {
    /// Makes one pass; returns true if nothing is left to do.
    fn pass(
        &mut self,
        call: Call,
        families: &Families,
        processes: &mut AllProcesses<'_>,
        now: Instant,
    ) -> Result<bool, Errno> {
        match self {
            Self::Family(kill) => kill.pass(families, processes.table, now),
            Self::Search(search) => search.pass(families, processes.table, now),
            Self::HangUp(hang_up) => hang_up.pass(families, processes, now),
            Self::End(end) => Ok(end.pass(call, families, processes.table, now)),
        }
    }

    /// The reply to the host when the job has ended.
    fn reply(&self, call: Call) -> Reply {
        match self {
            Self::End(end) => end.reply(call),
            Self::Family(_) | Self::Search(_) | Self::HangUp(_) => Reply::Done { call },
        }
    }
}
