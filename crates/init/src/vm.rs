//! The loop: requests from the host, children that end, and jobs that take time.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Boot, Failure, Reply, Request, Spawn};
use libc::pid_t;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::boot::{BootError, Booted};
use crate::control::{Attachments, Backlog, Control, ControlError};
use crate::family::{Families, MARKER, background, is_settled};
use crate::files::{self, Outcome};
use crate::jobs::{Jobs, exited};
use crate::process_table::ProcessTable;
use crate::spawn::{Cgroup, Spawner};
use crate::{has_pid_namespace, network, signal, sys};

/// Requests that are served, and children that are reaped, before the other gets its turn.
const TURN: usize = 128;

/// How long the socket is left alone when too many descriptors are on their way.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(5);

/// How long a VM without a pid namespace takes to kill what it started, when the host has gone.
const LAST_DEADLINE: Duration = Duration::from_secs(10);

/// A VM that is up.
#[derive(Debug)]
pub struct Vm {
    children: SignalFd,
    spawner: Spawner,
    families: Families,
    jobs: Jobs,
    table: ProcessTable,
    pid_namespace: bool,
    /// Whether the last turn left children unreaped.
    more_ended: bool,
}

impl Vm {
    /// Makes ready what the loop needs.
    pub fn new(boot: Boot, booted: Booted) -> Result<Self, BootError> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        // Writing to a socket whose host is gone is an error to handle, not an end.
        mask.add(Signal::SIGPIPE);
        mask.thread_set_mask()
            .map_err(|errno| BootError::of("block signals", errno))?;
        mask.remove(Signal::SIGPIPE);
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|errno| BootError::of("make a descriptor for signals", errno))?;

        let pid_namespace = has_pid_namespace(boot.isolation);
        let spawner = Spawner::new(boot.env, boot.limits.open_files, pid_namespace)
            .map_err(|error| BootError::new("prepare to start programs", &error))?;
        let salt = random().map_err(|error| BootError::new("read /dev/urandom", &error))?;
        Ok(Self {
            children,
            spawner,
            families: Families::new(booted.cgrouping, salt),
            jobs: Jobs::default(),
            table: ProcessTable::new(booted.proc_fd, pid_namespace),
            pid_namespace,
            more_ended: false,
        })
    }

    /// Serves until the host goes.
    pub fn run(mut self, mut control: Control) -> Result<(), ControlError> {
        let ended = self.serve(&mut control);
        if !self.pid_namespace {
            self.kill_descendants();
        }
        match ended {
            Err(ControlError::Closed) => Ok(()),
            other => other,
        }
    }

    fn serve(&mut self, control: &mut Control) -> Result<(), ControlError> {
        self.prepare();
        loop {
            let (readable, ended) = self.wait(control);
            if control.backlog() != Backlog::None {
                control.flush()?;
            }
            if ended {
                self.reap(control)?;
            }
            if readable {
                for _ in 0..TURN {
                    if !control.takes_requests() {
                        break;
                    }
                    let Some((request, attachments)) = control.receive()? else {
                        break;
                    };
                    self.answer(control, request, attachments)?;
                }
            }
            for reply in self.jobs.run(&self.families, &self.table) {
                control.send(&reply, Vec::new())?;
            }
        }
    }

    /// Waits for something to do; says whether there may be a request, and whether children may have ended.
    fn wait(&self, control: &Control) -> (bool, bool) {
        let mut events = PollFlags::empty();
        if control.takes_requests() {
            events |= PollFlags::POLLIN;
        }
        if control.backlog() == Backlog::Socket {
            events |= PollFlags::POLLOUT;
        }
        let pause = (control.backlog() == Backlog::Descriptors).then_some(DESCRIPTORS_PAUSE);
        let due = self
            .jobs
            .due()
            .map(|due| due.saturating_duration_since(Instant::now()));
        let more = self.more_ended.then_some(Duration::ZERO);
        let timeout = match [pause, due, more].into_iter().flatten().min() {
            Some(Duration::ZERO) => PollTimeout::ZERO,
            // Rounded up, or the loop would spin through the last millisecond.
            Some(time) => {
                PollTimeout::try_from(time + Duration::from_micros(999)).unwrap_or(PollTimeout::MAX)
            }
            None => PollTimeout::NONE,
        };
        let mut watched = [
            PollFd::new(control.as_fd(), events),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        match poll(&mut watched, timeout) {
            Ok(_) => {
                let happened = |at: usize| watched[at].revents().is_none_or(|events| !events.is_empty());
                (happened(0), happened(1) || self.more_ended)
            }
            // EINTR, or the kernel is short of memory; whatever it was, trying everything is right.
            Err(_) => (true, true),
        }
    }

    fn reap(&mut self, control: &mut Control) -> Result<(), ControlError> {
        // First the signals, then the children: one that ends in between leaves a signal for the next time.
        while matches!(self.children.read_signal(), Ok(Some(_))) {}
        let mut orphans = false;
        self.more_ended = true;
        for _ in 0..TURN {
            let Some(reaped) = sys::reap() else {
                self.more_ended = false;
                break;
            };
            match self.families.led_by(reaped.pid) {
                None => orphans = true,
                Some(call) => {
                    let mut reaped = reaped;
                    reaped.oom = self
                        .families
                        .lacked_memory(call, &reaped)
                        .unwrap_or_else(|errno| {
                            // That it ended, and how, is known all the same.
                            sys::log(&errno);
                            false
                        });
                    let left = self
                        .families
                        .leader_ended(call, &self.table)
                        .unwrap_or_else(|errno| {
                            // Its end is what matters; what is left of it can be killed all the same.
                            sys::log(&errno);
                            Vec::new()
                        });
                    if left.iter().any(|process| !is_settled(process, &self.table)) {
                        self.jobs.tell_end(call, reaped);
                    } else {
                        control.send(&exited(call, &reaped, background(&left, &self.table)), Vec::new())?;
                    }
                }
            }
        }
        self.jobs.nudge();
        if orphans && let Err(errno) = self.families.sweep() {
            sys::log(&errno);
        }
        self.prepare();
        Ok(())
    }

    /// Does ahead what the next family needs. If it fails now, that family will say so.
    fn prepare(&mut self) {
        let _ = self.families.prepare();
    }

    fn answer(
        &mut self,
        control: &mut Control,
        request: Request,
        mut attachments: Attachments,
    ) -> Result<(), ControlError> {
        let (call, result) = match request {
            // A host that boots twice has lost track.
            Request::Boot(_) => return Err(ControlError::Closed),
            Request::Spawn(spawn) => {
                let call = spawn.call;
                match self.spawn(&spawn) {
                    Ok((pid, fds)) => {
                        return control.send(
                            &Reply::Spawned {
                                call,
                                pid: pid as u32,
                            },
                            fds,
                        );
                    }
                    Err(error) => (call, Err(error)),
                }
            }
            Request::Signal { call, target, signal } => (
                call,
                signal::send(&self.families, &self.table, target, signal).map(|()| true),
            ),
            Request::Kill { call, target } => {
                let begun = self.jobs.kill(call, target, &self.families, &self.table);
                (call, begun.map(|()| false).map_err(signal::failed))
            }
            Request::HangUp { call, family } => (call, Ok(!self.jobs.hang_up(call, family, &self.families))),
            Request::Connect { call, port, ipv6 } => match network::connect_to(port, ipv6) {
                Ok(fd) => return control.send(&Reply::Connected { call }, vec![fd]),
                Err(error) => (call, Err(error)),
            },
            Request::File { call, step } => match files::step(&step, &mut attachments) {
                Ok(Outcome::Opened(fd)) => return control.send(&Reply::Opened { call }, vec![fd]),
                Ok(Outcome::Attributes(attributes)) => {
                    return control.send(
                        &Reply::Attributes {
                            call,
                            attributes: *attributes,
                        },
                        Vec::new(),
                    );
                }
                Ok(Outcome::Done) => (call, Ok(true)),
                Err(error) => (call, Err(error)),
            },
        };
        match result {
            Ok(true) => control.send(&Reply::Done { call }, Vec::new()),
            // A job answers when it has come to its end.
            Ok(false) => Ok(()),
            Err(error) => control.send(&Reply::Failed { call, error }, Vec::new()),
        }
    }

    fn spawn(&mut self, request: &Spawn) -> Result<(pid_t, Vec<std::os::fd::OwnedFd>), Failure> {
        let failed = |errno: Errno| Failure {
            errno: errno as i32,
            syscall: "mkdirat".into(),
            path: None,
        };
        let place = self.families.place().map_err(failed)?;
        let mark = self.families.mark(request.call);
        let marker = mark.as_deref().map(|mark| (MARKER, mark));
        match self.spawner.start(request, Cgroup::of(&place), marker) {
            Ok(started) => {
                let (pid, report) = (started.pid, request.report_background);
                self.families
                    .enter(request.call, pid, started.terminal_fd, place, report);
                Ok((pid, started.host_fds))
            }
            Err(error) => {
                self.families.abandon(place).map_err(failed)?;
                Err(error)
            }
        }
    }

    /// What the kernel does where it has a pid namespace to end.
    fn kill_descendants(&mut self) {
        let deadline = Instant::now() + LAST_DEADLINE;
        loop {
            while sys::reap().is_some() {}
            let left: Vec<_> = self
                .table
                .all()
                .into_iter()
                .filter(super::process_table::Process::is_alive)
                .collect();
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            for process in &left {
                // One that may not be killed (it became another user) is tried again until the deadline.
                let _ = signal::to_exactly(&self.table, process, libc::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Eight bytes of randomness.
fn random() -> io::Result<u64> {
    let mut bytes = [0; 8];
    File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(u64::from_ne_bytes(bytes))
}
