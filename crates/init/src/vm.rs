//! The loop: requests from the host, children that end, and jobs that take time.

use std::fs::File;
use std::io::{self, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Boot, Failure, FileStep, Isolation, Reply, Request, Spawn};
use libc::pid_t;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};

use crate::boot::{BootError, Booted};
use crate::control::{Attachments, Backlog, Control, ControlError};
use crate::deputy::Deputy;
use crate::family::{Families, MARKER, background, is_settled};
use crate::files::{self, Outcome};
use crate::jobs::{Jobs, exited};
use crate::mediate::Listeners;
use crate::process_table::ProcessTable;
use crate::spawn::{Cgroup, Spawner};
use crate::sys::Child;
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
    hands: Hands,
    families: Families,
    jobs: Jobs,
    table: ProcessTable,
    pid_namespace: bool,
    /// The folder of the VM's files on the host, if it has one there.
    folder: Option<String>,
    /// Where the kernel asks about the calls that init decides, if there are such.
    listeners: Listeners,
    /// Whether the last turn left children unreaped.
    more_ended: bool,
}

/// Who starts programs and opens files.
#[derive(Debug)]
enum Hands {
    /// Init itself.
    Own(Spawner),
    /// Its deputy.
    Deputy(Box<Deputy>),
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
        let filter = boot.isolation != Isolation::None;
        let spawner = Spawner::new(boot.env.unwrap_or_default(), boot.limits.open_files, filter)
            .map_err(|error| BootError::new("prepare to start programs", &error))?;
        let salt = random().map_err(|error| BootError::new("read /dev/urandom", &error))?;
        let mut table = ProcessTable::new(booted.proc_fd, pid_namespace);
        let mut listeners = Listeners::default();
        let hands = match booted.walls {
            None => Hands::Own(spawner),
            Some(walls) => {
                let mut deputy = Deputy::new(walls, spawner)?;
                table.set_deputy(deputy.pid());
                listeners.extend(deputy.take_listeners());
                Hands::Deputy(Box::new(deputy))
            }
        };
        Ok(Self {
            children,
            hands,
            families: Families::new(booted.cgrouping, salt),
            jobs: Jobs::default(),
            table,
            pid_namespace,
            folder: boot.walls.map(|walls| walls.folder),
            listeners,
            more_ended: false,
        })
    }

    /// The pid of init's deputy, if it has one.
    pub fn deputy(&self) -> Option<u32> {
        match &self.hands {
            Hands::Own(_) => None,
            Hands::Deputy(deputy) => deputy.pid().map(|pid| pid as u32),
        }
    }

    /// Serves until the host goes.
    pub fn run(mut self, mut control: Control) -> Result<(), ControlError> {
        let ended = self.serve(&mut control);
        if !self.pid_namespace {
            // Its channel closes, and it kills what it can reach, before it ends as well.
            if let Hands::Deputy(deputy) = &mut self.hands {
                deputy.dismiss();
            }
            self.table.set_deputy(None);
            self.kill_descendants();
        }
        if let Some(folder) = &self.folder {
            // The server may be gone without having removed it; what it finds left is its own to remove.
            if let Err(error) = agent_vm_folder::remove_all(Path::new(folder)) {
                sys::log(&error);
            }
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
            if let Hands::Deputy(deputy) = &self.hands {
                self.listeners
                    .serve(self.table.proc_fd(), deputy.walls().folder());
            }
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
        let mut watched = vec![
            PollFd::new(control.as_fd(), events),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        let asking = self.listeners.fds();
        watched.extend(asking.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
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
            let reaped = match sys::reap() {
                Child::Ended(reaped) => reaped,
                Child::Released => continue,
                Child::None => {
                    self.more_ended = false;
                    break;
                }
            };
            if let Hands::Deputy(deputy) = &mut self.hands
                && deputy.ended(reaped.pid)
            {
                self.replace_deputy(control)?;
                continue;
            }
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
        attachments: Attachments,
    ) -> Result<(), ControlError> {
        let (call, result) = match request {
            // A host that boots twice has lost track.
            Request::Launch(_) | Request::Boot(_) => return Err(ControlError::Closed),
            Request::Adopt { env } => {
                let Hands::Own(spawner) = &mut self.hands else {
                    return Err(ControlError::Closed);
                };
                spawner.set_env(env);
                sys::set_name(sys::NAME);
                return Ok(());
            }
            Request::Spawn(spawn) => {
                let call = spawn.call;
                let spawned = self.spawn(&spawn);
                self.introduce_deputy(control)?;
                match spawned {
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
            // Init's own network is the host's here.
            Request::Connect { call, .. } if matches!(self.hands, Hands::Deputy(_)) => (
                call,
                Err(Failure {
                    errno: Errno::ENETUNREACH as i32,
                    syscall: "connect".into(),
                    path: None,
                }),
            ),
            Request::Connect { call, port, ipv6 } => match network::connect_to(port, ipv6) {
                Ok(fd) => return control.send(&Reply::Connected { call }, vec![fd]),
                Err(error) => (call, Err(error)),
            },
            Request::File { call, step } => {
                let outcome = self.file(step, attachments);
                self.introduce_deputy(control)?;
                match outcome {
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
                }
            }
        };
        match result {
            Ok(true) => control.send(&Reply::Done { call }, Vec::new()),
            // A job answers when it has come to its end.
            Ok(false) => Ok(()),
            Err(error) => control.send(&Reply::Failed { call, error }, Vec::new()),
        }
    }

    fn spawn(&mut self, request: &Spawn) -> Result<(pid_t, Vec<OwnedFd>), Failure> {
        let failed = |errno: Errno| Failure {
            errno: errno as i32,
            syscall: "mkdirat".into(),
            path: None,
        };
        let place = self.families.place().map_err(failed)?;
        let mark = self.families.mark(request.call);
        let marker = mark.as_deref().map(|mark| (MARKER, mark));
        let cgroup = Cgroup::of(&place);
        let started = match &mut self.hands {
            Hands::Own(spawner) => spawner.start(request, cgroup, marker),
            Hands::Deputy(deputy) => deputy.spawn(request, cgroup, marker),
        };
        match started {
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

    fn file(&mut self, step: FileStep, mut attachments: Attachments) -> Result<Outcome, Failure> {
        match &mut self.hands {
            Hands::Own(_) => files::step(&step, &mut attachments),
            Hands::Deputy(deputy) => deputy.file(step, attachments),
        }
    }

    /// Makes another deputy in place of one that was killed.
    fn replace_deputy(&mut self, control: &mut Control) -> Result<(), ControlError> {
        if let Hands::Deputy(deputy) = &mut self.hands
            && let Err(error) = deputy.start()
        {
            // The next errand tries again, and says so if it fails.
            sys::log(&error);
        }
        self.introduce_deputy(control)
    }

    /// Tells who needs to know that there is another deputy, if there is.
    fn introduce_deputy(&mut self, control: &mut Control) -> Result<(), ControlError> {
        let Hands::Deputy(deputy) = &mut self.hands else {
            return Ok(());
        };
        self.listeners.extend(deputy.take_listeners());
        match deputy.pid() {
            Some(pid) if self.table.set_deputy(Some(pid)) => {
                control.send(&Reply::Deputy { pid: pid as u32 }, Vec::new())
            }
            _ => Ok(()),
        }
    }

    /// What the kernel does where it has a pid namespace to end.
    fn kill_descendants(&mut self) {
        let deadline = Instant::now() + LAST_DEADLINE;
        loop {
            while !matches!(sys::reap(), Child::None) {}
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
