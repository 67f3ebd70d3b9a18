//! The main loop: handles requests of the host, children that end, and jobs that take several steps.

mod answer;
mod backend;
mod files;
mod held_starts;
mod helpers;
mod queued_starts;
mod reap;
mod spawn;
mod waiting_starts;

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Boot, BootStep, InnerIds, Isolation, ProgramUser, Reply};
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::sys::time::TimeSpec;

use crate::boot::{BootError, Booted, OwnLayer};
use crate::control::{Backlog, Control, ControlError};
use crate::deputy::Deputy;
use crate::family::Families;
use crate::files::helper::FileHelper;
use crate::jobs::Jobs;
use crate::mediate::{Mediator, OwnMounts};
use crate::meter::Meter;
use crate::process_table::{Process, ProcessTable};
use crate::spawn::{Spawner, SuidDumpable, capabilities};
use crate::sys::Waited;
use crate::{signal, sys};

use backend::Backend;
use held_starts::HeldStarts;
use queued_starts::QueuedStarts;
use waiting_starts::WaitingStarts;

/// How many requests are served, or children reaped, before it is the other's turn.
const TURN: usize = 128;

/// How long the socket is not used when too many descriptors are in transit.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(5);

/// How long a VM may take to kill what it started when the host has gone, where the kernel does not do that in time.
const LAST_DEADLINE: Duration = Duration::from_secs(10);

/// Whether a VM of this kind has its own pid namespace, which the kernel ends with init.
fn has_pid_namespace(isolation: Isolation) -> bool {
    isolation == Isolation::Namespaces
}

/// A running VM.
#[derive(Debug)]
pub struct Vm {
    children: SignalFd,
    backend: Backend,
    families: Families,
    jobs: Jobs,
    meter: Meter,
    held_starts: HeldStarts,
    table: ProcessTable,
    pid_namespace: bool,
    /// The directory of the VM's files on the host, if it has one there.
    directory: Option<String>,
    /// The file system with everything that the VM has written.
    layer: Option<OwnLayer>,
    /// The lock of the VM's disk, if it has one.
    disk_lock_fd: Option<OwnedFd>,
    /// Carries out steps on files.
    files: FileHelper,
    /// The user that does these steps.
    user: ProgramUser,
    /// Opens working directories for which init might have to wait.
    directories: QueuedStarts,
    /// The starts whose programs may not run yet.
    waiting_starts: WaitingStarts,
    /// The memory that the environment takes in each start.
    env_bytes: usize,
    /// Answers the calls that the kernel asks about, if there are any.
    mediator: Mediator,
    /// The mounts with the VM's own files, which decide such calls in a VM with its own root.
    own_mounts: OwnMounts,
    /// Whether the last turn left ended children unreaped.
    more_ended: bool,
    /// Whether the scheduler currently runs init before programs.
    goes_first: bool,
}

impl Vm {
    /// Prepares what the loop needs.
    pub fn new(boot: Boot, booted: Booted) -> Result<Self, BootError> {
        let mut mask = SigSet::empty();
        mask.add(Signal::SIGCHLD);
        // Writing to a socket whose host is gone must be an error to handle, and not a signal.
        mask.add(Signal::SIGPIPE);
        mask.thread_set_mask()
            .map_err(|errno| BootError::of(BootStep::BlockSignals, errno))?;
        mask.remove(Signal::SIGPIPE);
        let children = SignalFd::with_flags(&mask, SfdFlags::SFD_NONBLOCK | SfdFlags::SFD_CLOEXEC)
            .map_err(|errno| BootError::of(BootStep::MakeSignalFd, errno))?;

        let pid_namespace = has_pid_namespace(boot.isolation);
        let env = boot.env.unwrap_or_default();
        let env_bytes = queued_starts::env_size(&env);
        // Where the kernel asks about modes, programs can have files of the host.
        let users =
            (boot.inner_ids == Some(InnerIds::Range)).then(|| capabilities::of_root(booted.asks.is_some()));
        let spawner = Spawner::new(
            env,
            boot.limits.open_files,
            boot.cgroups.memory.is_some(),
            booted.inner_fd,
            users,
        )
        .map_err(|error| BootError::new(BootStep::PrepareSpawning, &error))?;
        let salt = sys::random().map_err(|errno| BootError::of(BootStep::DrawRandom, errno))?;
        let families = Families::new(booted.cgrouping, salt)
            .map_err(|errno| BootError::of(BootStep::MarkPrograms, errno))?;
        let mut table = ProcessTable::new(booted.proc_fd, pid_namespace);
        let shares = boot.inner_ids == Some(InnerIds::Range) && boot.cgroups.memory.is_none();
        let spawner = spawner.sharing_at(shares.then(|| SuidDumpable::open(table.proc_fd())).flatten());
        let mut mediator = Mediator::default();
        let own_mounts = booted.asks.map_or_else(OwnMounts::all, |asks| {
            mediator.add_sources(vec![asks.listener_fd]);
            asks.own_mounts
        });
        let backend = match booted.domain {
            None => Backend::Init(spawner),
            Some(domain) => {
                let mut deputy = Deputy::new(domain, spawner)?;
                table.set_helpers(deputy.pid().as_slice());
                mediator.add_sources(deputy.take_listeners());
                Backend::Deputy(Box::new(deputy))
            }
        };
        Ok(Self {
            children,
            backend,
            families,
            jobs: Jobs::default(),
            meter: Meter::new(booted.private_fd),
            held_starts: HeldStarts::default(),
            table,
            pid_namespace,
            layer: booted.layer,
            disk_lock_fd: booted.disk_lock_fd,
            directory: boot.landlock.map(|files| files.directory),
            files: FileHelper::new(sys::FILES_NAME),
            user: boot.user,
            directories: QueuedStarts::new(),
            waiting_starts: WaitingStarts::default(),
            env_bytes,
            mediator,
            own_mounts,
            more_ended: false,
            goes_first: false,
        })
    }

    /// The pids of the processes that work for init.
    pub fn helpers(&self) -> Vec<u32> {
        self.table.helpers().map(|pid| pid as u32).collect()
    }

    /// Serves until the host closes the socket.
    pub fn run(mut self, mut control: Control) -> Result<(), ControlError> {
        let ended = self.serve(&mut control);
        self.files.dismiss();
        self.directories.dismiss();
        self.mediator.dismiss();
        // Where a pid namespace ends with init, the kernel kills the others only when it has closed init's descriptors, and then
        // another VM could have the disk already.
        if !self.pid_namespace || self.disk_lock_fd.is_some() {
            // Its channel closes, so it kills what it can reach before it exits too.
            if let Some(deputy) = self.backend.deputy_mut() {
                deputy.dismiss();
            }
            self.table.set_helpers(&[]);
            self.kill_descendants();
        }
        if let Some(directory) = &self.directory {
            // The server may have ended without removing the directory. A server that finds it removes it itself.
            if let Err(error) = agent_vm_remove_tree::remove_all(Path::new(directory)) {
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
                    // Each start takes a while, and there may be a hundred.
                    self.held_starts.report_due(control)?;
                    self.keep_pace();
                }
            }
            let replies = self.jobs.run(&self.families, &self.table);
            if !replies.is_empty() {
                // When a job's end is reported, no zombie of the killed processes may be left.
                self.reap(control)?;
            }
            for reply in replies {
                control.send(&reply, Vec::new())?;
            }
            for call in self.families.ended(&self.table) {
                control.send(&Reply::Done { call }, Vec::new())?;
            }
            self.advance_starts(control)?;
            self.advance_files(control)?;
            self.mediate(control)?;
            self.held_starts.report_due(control)?;
            self.keep_pace();
        }
    }

    /// Waits for something to do; returns whether there may be a request, and whether children may have ended.
    fn wait(&self, control: &Control) -> (bool, bool) {
        let mut events = PollFlags::empty();
        if control.takes_requests() {
            events |= PollFlags::POLLIN;
        }
        if control.backlog() == Backlog::Socket {
            events |= PollFlags::POLLOUT;
        }
        let pause = (control.backlog() == Backlog::Descriptors).then_some(DESCRIPTORS_PAUSE);
        let due = [
            self.jobs.due(),
            self.held_starts.due(),
            self.families.due(),
            self.files.due(),
            self.directories.due(),
            self.waiting_starts.due(),
            self.mediator.due(),
        ];
        let due = due.into_iter().flatten().min();
        let due = due.map(|due| due.saturating_duration_since(Instant::now()));
        let more = self.more_ended.then_some(Duration::ZERO);
        let timeout = [pause, due, more].into_iter().flatten().min();
        let mut watched = vec![
            PollFd::new(control.as_fd(), events),
            PollFd::new(self.children.as_fd(), PollFlags::POLLIN),
        ];
        let helping = [self.files.fd(), self.directories.fd()]
            .into_iter()
            .flatten()
            .chain(self.mediator.fds());
        watched.extend(helping.map(|fd| PollFd::new(fd, PollFlags::POLLIN)));
        match ppoll(&mut watched, timeout.map(TimeSpec::from_duration), None) {
            Ok(_) => {
                let happened = |at: usize| watched[at].revents().is_none_or(|events| !events.is_empty());
                (happened(0), happened(1) || self.more_ended)
            }
            // EINTR or lack of memory; in either case it is right to try everything.
            Err(_) => (true, true),
        }
    }

    /// Makes the scheduler prefer init while programs run, so that ends and starts need not wait for the turns of
    /// programs. It stops when no program runs: with few processors, one may have ended before the next has started,
    /// because init was waiting.
    fn keep_pace(&mut self) {
        let running = self.families.running();
        self.meter.see_running(running);
        let first = match running {
            0 => false,
            1 => self.goes_first,
            _ => true,
        };
        if first != self.goes_first {
            self.goes_first = first;
            sys::go_first(first);
        }
    }

    /// Makes what the next family will need. If this fails now, that family reports the error.
    fn prepare(&mut self) {
        let _ = self.families.prepare();
    }

    /// Does what the kernel does when a pid namespace ends.
    fn kill_descendants(&mut self) {
        let deadline = Instant::now() + LAST_DEADLINE;
        loop {
            while !matches!(sys::reap(), Waited::None) {}
            let left: Vec<_> = self.table.all().into_iter().filter(Process::is_alive).collect();
            if left.is_empty() || Instant::now() > deadline {
                return;
            }
            for process in &left {
                // A process that may not be killed now (it has become another user) is tried again until the deadline.
                let _ = signal::to_exactly(&self.table, process, libc::SIGKILL);
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}
