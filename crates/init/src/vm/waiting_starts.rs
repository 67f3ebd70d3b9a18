//! The starts whose programs may not run yet, although their processes exist.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Failure, Spawn};
use libc::pid_t;
use nix::errno::Errno;

use super::held_starts::Start;
use super::queued_starts::size;
use crate::spawn::Starting;
use crate::spawn::sys::{is_stopped, kill, resume};

/// How long a program may take until it runs: much longer than a slow disk or a VM without processor time delays it.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long a killed process may take to end before the host knows that the start has failed: often the kernel cannot end it
/// before a lock is free.
const GRACE: Duration = Duration::from_millis(100);

/// How often init looks at them while one of them is new, and otherwise.
const LOOK_NEW: Duration = Duration::from_millis(1);
const LOOK: Duration = Duration::from_millis(5);

/// For how long one is new: most programs run by then.
const NEW: Duration = Duration::from_millis(20);

/// How many times one that others have stopped gets SIGCONT before it is killed.
const RESUMES: u32 = 20;

/// How many processes may not have executed yet, those included that were given up and that the kernel does not end yet. Then
/// further starts wait until there is room again.
const MOST: usize = 256;

/// How many starts may wait for room. Each has a descriptor.
const MOST_QUEUED: usize = 512;

/// How much memory those processes may use together, and the starts that wait for room. A single one may always.
const BOUND: usize = 32 << 20;

/// A start whose process may not have executed yet.
#[derive(Debug)]
struct WaitingStart {
    call: Call,
    pid: pid_t,
    since: Instant,
    /// The memory that the process may use.
    bytes: usize,
    starting: Starting,
    state: State,
}

#[derive(Debug)]
enum State {
    /// The program may still run.
    Pending(Pending),
    /// The process was killed, or ends by itself. The host knows why when it has ended, or at that time.
    Ending { error: Failure, at: Instant },
    /// The host knows, and the process has not ended yet.
    Known,
}

/// What a start needs until it has succeeded or failed.
#[derive(Debug)]
struct Pending {
    fds: Vec<OwnedFd>,
    deadline: Instant,
    /// When it fails because the host has set it a shorter time.
    expires: Option<Instant>,
    /// Whether the host gives it up.
    stop: bool,
    resumes: u32,
}

/// A start that waits for room.
#[derive(Debug)]
pub(super) struct RoomlessStart {
    pub request: Box<Spawn>,
    pub directory_fd: OwnedFd,
    /// When it fails because the host has set it a time.
    pub expires: Option<Instant>,
    deadline: Instant,
}

/// The end of a process that had not executed at the last look.
#[derive(Debug)]
pub(super) enum EndedStart {
    /// Its program has run.
    Ran(Start),
    /// The start has failed, with this error if the host does not know yet. If the process was killed, its program may have
    /// run for a moment.
    Failed {
        call: Call,
        error: Option<Failure>,
        was_killed: bool,
    },
}

/// The starts whose programs may not run yet, and those that wait until there are fewer of these.
#[derive(Debug, Default)]
pub(super) struct WaitingStarts {
    starts: Vec<WaitingStart>,
    bytes: usize,
    queue: VecDeque<RoomlessStart>,
    queued_bytes: usize,
}

impl WaitingStarts {
    /// Whether a start that uses so much memory may begin now.
    pub fn has_room(&self, bytes: usize) -> bool {
        self.starts.is_empty() || self.starts.len() < MOST && self.bytes + bytes <= BOUND
    }

    /// Whether starts wait for room: then later ones do, too.
    pub fn has_queue(&self) -> bool {
        !self.queue.is_empty()
    }

    /// Whether any program may still begin to run.
    pub fn any_pending(&self) -> bool {
        let is_pending = |start: &WaitingStart| matches!(start.state, State::Pending(_));
        self.starts.iter().any(is_pending)
    }

    /// Lets a start wait for room, after earlier ones. False if too many do already.
    pub fn queue(&mut self, request: Box<Spawn>, directory_fd: OwnedFd, expires: Option<Instant>) -> bool {
        let bytes = self.queued_bytes + size(&request);
        if !self.queue.is_empty() && (bytes > BOUND || self.queue.len() >= MOST_QUEUED) {
            return false;
        }
        self.queued_bytes = bytes;
        self.queue.push_back(RoomlessStart {
            request,
            directory_fd,
            expires,
            deadline: Instant::now() + DEADLINE,
        });
        true
    }

    /// The first start that waits for room, if there is room. A start also uses `more` memory than its words.
    pub fn next(&mut self, more: usize) -> Option<RoomlessStart> {
        let bytes = size(&self.queue.front()?.request);
        if !self.has_room(bytes + more) {
            return None;
        }
        self.queued_bytes -= bytes;
        self.queue.pop_front()
    }

    /// Adds a start whose process may not have executed yet.
    pub fn add(&mut self, start: Start, starting: Starting, bytes: usize, expires: Option<Instant>) {
        self.bytes += bytes;
        self.starts.push(WaitingStart {
            call: start.call,
            pid: start.pid,
            since: Instant::now(),
            bytes,
            starting,
            state: State::Pending(Pending {
                fds: start.fds,
                deadline: Instant::now() + DEADLINE,
                expires,
                stop: false,
                resumes: 0,
            }),
        });
    }

    /// When [`advance`](Self::advance) must be called.
    pub fn due(&self) -> Option<Instant> {
        let is_due = |start: &WaitingStart| !matches!(start.state, State::Known);
        let now = Instant::now();
        let is_new = |start: &WaitingStart| now < start.since + NEW;
        let look = if self.starts.iter().any(is_new) {
            LOOK_NEW
        } else {
            LOOK
        };
        (self.has_queue() || self.starts.iter().any(is_due)).then(|| now + look)
    }

    /// Looks at each of them. Returns those whose programs run now, and the failures of others, which will not run; their
    /// processes end, if they have not yet. While the VM `is_paused` they may take as long as it lasts.
    pub fn advance(&mut self, is_paused: bool) -> (Vec<Start>, Vec<(Call, Failure)>) {
        let now = Instant::now();
        let (mut running, mut failed) = (Vec::new(), Vec::new());
        self.starts.retain_mut(|start| {
            if let State::Ending { error, at } = &start.state {
                if *at <= now {
                    failed.push((start.call, error.clone()));
                    start.state = State::Known;
                }
                return true;
            }
            match start.look(now, is_paused) {
                None => true,
                Some(Ok(running_start)) => {
                    self.bytes -= start.bytes;
                    running.push(running_start);
                    false
                }
                Some(Err(error)) => {
                    start.end(error, now);
                    true
                }
            }
        });
        self.queue.retain_mut(|start| {
            if is_paused {
                start.deadline = now + DEADLINE;
            }
            let error = match start.expires {
                Some(expires) if expires <= now => stopped(Errno::ETIMEDOUT),
                _ if start.deadline <= now => no_room(),
                _ => return true,
            };
            self.queued_bytes -= size(&start.request);
            failed.push((start.request.call, error));
            false
        });
        (running, failed)
    }

    /// Gives a start up, if its program does not run yet. Returns its failure if the host can know now.
    pub fn stop(&mut self, call: Call) -> Option<Failure> {
        if let Some(at) = self.queue.iter().position(|start| start.request.call == call)
            && let Some(start) = self.queue.remove(at)
        {
            self.queued_bytes -= size(&start.request);
            return Some(stopped(Errno::ECANCELED));
        }
        if let Some(start) = self.starts.iter_mut().find(|start| start.call == call)
            && let State::Pending(pending) = &mut start.state
        {
            // If its program runs by now, the next look finds out first.
            pending.stop = true;
        }
        None
    }

    /// What became of the start whose process was just reaped, if it was one of these.
    pub fn ended(&mut self, pid: pid_t) -> Option<EndedStart> {
        let at = self.starts.iter().position(|start| start.pid == pid)?;
        let WaitingStart {
            call,
            bytes,
            mut starting,
            state,
            ..
        } = self.starts.remove(at);
        self.bytes -= bytes;
        let (error, was_killed) = match (state, starting.outcome(true)) {
            (State::Pending(pending), Some(Ok(())) | None) => {
                let fds = pending.fds;
                return Some(EndedStart::Ran(Start { call, pid, fds }));
            }
            (State::Pending(_), Some(Err(error))) => (Some(error), false),
            (State::Ending { error, .. }, _) => (Some(error), true),
            (State::Known, _) => (None, true),
        };
        Some(EndedStart::Failed {
            call,
            error,
            was_killed,
        })
    }
}

impl WaitingStart {
    /// Whether its program runs, or why it will not; `None` while it still may start to.
    fn look(&mut self, now: Instant, is_paused: bool) -> Option<Result<Start, Failure>> {
        let State::Pending(pending) = &mut self.state else {
            return None;
        };
        match self.starting.outcome(false) {
            Some(Ok(())) => {
                let fds = std::mem::take(&mut pending.fds);
                let (call, pid) = (self.call, self.pid);
                Some(Ok(Start { call, pid, fds }))
            }
            Some(Err(error)) => Some(Err(error)),
            None if pending.stop => Some(Err(stopped(Errno::ECANCELED))),
            None => match pending.check(self.pid, now, is_paused)? {
                Overdue::Deadline => Some(Err(self.starting.overdue())),
                Overdue::Expired => Some(Err(stopped(Errno::ETIMEDOUT))),
            },
        }
    }

    /// Kills the process, which may still use its memory until it ends.
    fn end(&mut self, error: Failure, now: Instant) {
        let at = now + GRACE;
        self.state = State::Ending { error, at };
        kill(self.pid);
    }
}

/// Why a start must not wait any longer.
enum Overdue {
    Deadline,
    Expired,
}

impl Pending {
    /// Whether the start must not wait any longer. Continues the process if another one has stopped it.
    fn check(&mut self, pid: pid_t, now: Instant, is_paused: bool) -> Option<Overdue> {
        if self.expires.is_some_and(|expires| expires <= now) {
            return Some(Overdue::Expired);
        }
        if is_paused {
            self.deadline = now + DEADLINE;
            return None;
        }
        if is_stopped(pid) {
            self.resumes += 1;
            resume(pid);
        }
        (self.deadline <= now || self.resumes > RESUMES).then_some(Overdue::Deadline)
    }
}

/// The failure of a start that was given up before its program ran.
pub(super) fn stopped(errno: Errno) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: Failure::START.into(),
        path: None,
    }
}

/// The failure of a start for which there is no room.
pub(super) fn no_room() -> Failure {
    Failure {
        errno: libc::EAGAIN,
        syscall: "clone".into(),
        path: None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pause_gives_a_start_its_time_again_but_not_the_time_that_the_host_has_set() {
        let now = Instant::now();
        let mut pending = Pending {
            fds: Vec::new(),
            deadline: now,
            expires: None,
            stop: false,
            resumes: 0,
        };
        // Not a child, and so not a stopped one.
        let pid = std::process::id() as pid_t;
        assert!(pending.check(pid, now, true).is_none());
        assert!(pending.check(pid, now, false).is_none());
        let later = now + DEADLINE;
        assert!(matches!(
            pending.check(pid, later, false),
            Some(Overdue::Deadline)
        ));
        pending.expires = Some(later);
        assert!(matches!(pending.check(pid, later, true), Some(Overdue::Expired)));
    }
}
