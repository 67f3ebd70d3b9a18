//! Init's deputy, in a VM without namespaces: a process in the same Landlock domain as programs, which starts programs
//! for init.
//!
//! All programs descend from it, or at least were cloned by it, so they share its Landlock domain: they can signal each
//! other and no other process. They can also signal the deputy, which has their user and their domain, but gain nothing
//! by that: init, which they cannot reach, makes another one. Programs of the old and of the new domain then cannot
//! signal each other; init can signal all of them.
//!
//! Init is the parent of what the deputy starts (`CLONE_PARENT`), so only init reaps.

mod errand;
mod serve;
mod sys;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::channel::passes_unannounced;
use agent_vm_protocol::message::{BootStep, Failure, Spawn, Stdio};
use agent_vm_protocol::{Channel, Frame, ReceiveError};
use libc::pid_t;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use self::errand::{DESCRIPTORS_PATIENCE, DeputyAnswer, DeputyErrand};
use crate::boot::BootError;
use crate::landlock_domain::LandlockDomain;
use crate::spawn::sys::{is_stopped, kill, resume};
use crate::spawn::{Cgroup, Launched, Report, Spawner, Started, Starting, stdio};

/// How long an errand may take. Errands wait only for the kernel.
const DEADLINE: Duration = Duration::from_secs(10);

/// How long init waits before it checks whether a program has stopped the deputy.
const LOOK: Duration = Duration::from_millis(10);

/// How long init waits for the pid of a program that a lost deputy may have started; a program reports its pid first.
const REPORT_PATIENCE: Duration = Duration::from_millis(200);

/// How many times a stopped deputy gets SIGCONT before init replaces it.
const RESUMES: u32 = 4;

/// How many deputies in turn get an errand, if each is killed before it begins the errand.
const TRIES: u32 = 3;

/// The deputy, and what is needed to make the next one if it is killed.
#[derive(Debug)]
pub struct Deputy {
    domain: LandlockDomain,
    spawner: Spawner,
    running: Option<RunningDeputy>,
    listeners: Vec<OwnedFd>,
}

#[derive(Debug)]
struct RunningDeputy {
    pid: pid_t,
    channel: Channel,
}

/// Why an errand has no reply.
enum Undone {
    /// It was never sent to the deputy.
    Refused(Failure),
    /// The deputy is gone, and may have carried it out or not.
    Lost,
}

impl Deputy {
    /// Starts the first deputy.
    pub fn new(domain: LandlockDomain, spawner: Spawner) -> Result<Self, BootError> {
        let mut deputy = Self {
            domain,
            spawner,
            running: None,
            listeners: Vec::new(),
        };
        deputy.start()?;
        Ok(deputy)
    }

    /// Its pid.
    pub fn pid(&self) -> Option<pid_t> {
        self.running.as_ref().map(|running| running.pid)
    }

    /// The Landlock domain.
    pub fn domain(&self) -> &LandlockDomain {
        &self.domain
    }

    /// Takes the descriptors on which the kernel asks about the calls that init decides; one for each new deputy.
    pub fn take_listeners(&mut self) -> Vec<OwnedFd> {
        std::mem::take(&mut self.listeners)
    }

    /// Whether the child that has just been reaped was the deputy.
    pub fn ended(&mut self, pid: pid_t) -> bool {
        let was_it = self.pid() == Some(pid);
        if was_it {
            self.running = None;
        }
        was_it
    }

    /// Ends the deputy at the end of the VM: it kills everything that it can reach, and exits.
    pub fn dismiss(&mut self) {
        self.running = None;
    }

    /// Starts a deputy if there is none.
    #[allow(unsafe_code)]
    pub fn start(&mut self) -> Result<(), BootError> {
        if self.running.is_some() {
            return Ok(());
        }
        let (channel, theirs) =
            Channel::pair().map_err(|error| BootError::new(BootStep::MakeDeputySocket, &error))?;
        // SAFETY: init has one thread.
        let pid = unsafe {
            sys::fork(|| {
                self.spawner.start_siblings();
                serve::serve(&theirs, &self.domain, &mut self.spawner);
            })
        }
        .map_err(|errno| BootError::of(BootStep::StartDeputy, errno))?;
        drop(theirs);
        self.running = Some(RunningDeputy { pid, channel });
        match self.answer() {
            Ok((DeputyAnswer::Ready, fds)) => {
                self.listeners.extend(fds);
                Ok(())
            }
            Ok((DeputyAnswer::NotReady { step, errno }, _)) => {
                self.running = None;
                Err(BootError::of(step, Errno::from_raw(errno)))
            }
            Ok(_) | Err(_) => Err(BootError::of(BootStep::StartDeputy, Errno::EAGAIN)),
        }
    }

    /// Starts a program.
    pub fn spawn(
        &mut self,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
        cgroup: Cgroup<'_>,
        mark: Option<u64>,
    ) -> Result<Started, Failure> {
        for _ in 0..TRIES {
            let (host_fds, child_fds) = stdio(request.stdio)?;
            let terminal_fd = match request.stdio {
                Stdio::Terminal { .. } => share(child_fds.last().map(AsFd::as_fd))?,
                Stdio::Output | Stdio::Pipes | Stdio::MorePipes(_) | Stdio::Context => None,
            };
            if let Some(launched) = self.try_spawn(request, directory_fd, child_fds, cgroup, mark)? {
                let (pid, starting) = match launched {
                    Launched::Running(pid) => (pid, None),
                    Launched::Starting(starting) => (starting.pid(), Some(starting)),
                };
                return Ok(Started {
                    pid,
                    starting,
                    host_fds,
                    terminal_fd,
                });
            }
        }
        Err(failure(Errno::EAGAIN, "clone"))
    }

    /// Returns `None` if the deputy was lost before it had started anything.
    fn try_spawn(
        &mut self,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
        child_fds: Vec<OwnedFd>,
        cgroup: Cgroup<'_>,
        mark: Option<u64>,
    ) -> Result<Option<Launched<Starting>>, Failure> {
        // A program can kill the deputy before the deputy has replied. The program's own report takes precedence.
        let (mut report, child_report_fd) = Report::pair().map_err(|errno| failure(errno, "pipe2"))?;
        let (into, join) = (share(cgroup.into)?, share(cgroup.join)?);
        let errand = DeputyErrand::Start {
            spawn: Box::new(request.clone()),
            mark,
            into: into.is_some(),
            join: join.is_some(),
        };
        let fds = [child_report_fd]
            .into_iter()
            .chain(share(Some(directory_fd))?)
            .chain(child_fds)
            .chain(into)
            .chain(join)
            .collect();
        match self.send_and_wait(&errand, fds) {
            Ok((DeputyAnswer::Started(pid), _)) => Ok(Some(Launched::Running(pid))),
            Ok((DeputyAnswer::Starting(pid), _)) => {
                Ok(Some(Launched::Starting(Starting::reported(pid, report, request))))
            }
            Ok((DeputyAnswer::Failed(error), _)) | Err(Undone::Refused(error)) => Err(error),
            Ok(_) => Err(failure(Errno::EPROTO, "clone")),
            // A process that reports its pid later cannot execute, because its report fails.
            Err(Undone::Lost) => Ok(report
                .pid(REPORT_PATIENCE)
                .map(|pid| Launched::Starting(Starting::reported(pid, report, request)))),
        }
    }

    fn send_and_wait(
        &mut self,
        errand: &DeputyErrand,
        fds: Vec<OwnedFd>,
    ) -> Result<(DeputyAnswer, Vec<OwnedFd>), Undone> {
        let frame = Frame::new(errand, fds).map_err(|_| Undone::Refused(failure(Errno::E2BIG, "sendmsg")))?;
        // A deputy that was killed before it had the errand is replaced.
        for _ in 0..TRIES {
            self.start()
                .map_err(|error| Undone::Refused(failure(error.errno, "fork")))?;
            if self.send(&frame) {
                return self.answer();
            }
            self.end();
        }
        Err(Undone::Lost)
    }

    /// Returns whether it was sent.
    fn send(&self, frame: &Frame) -> bool {
        let Some(running) = &self.running else {
            return false;
        };
        let deadline = Instant::now() + DEADLINE;
        let patience = Instant::now() + DESCRIPTORS_PATIENCE;
        loop {
            match running.channel.send(frame) {
                Ok(()) => return true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !wait(&running.channel, PollFlags::POLLOUT, deadline, running.pid) {
                        return false;
                    }
                }
                Err(error) if passes_unannounced(&error) && Instant::now() < patience => {
                    std::thread::sleep(Duration::from_millis(1));
                }
                Err(_) => return false,
            }
        }
    }

    fn answer(&mut self) -> Result<(DeputyAnswer, Vec<OwnedFd>), Undone> {
        let deadline = Instant::now() + DEADLINE;
        let mut buffer = Vec::new();
        while let Some(running) = &self.running {
            match running.channel.receive::<DeputyAnswer>(&mut buffer) {
                Ok(Some(answer)) => return Ok(answer),
                Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                    if !wait(&running.channel, PollFlags::POLLIN, deadline, running.pid) {
                        self.end();
                    }
                }
                Ok(None) | Err(_) => self.end(),
            }
        }
        Err(Undone::Lost)
    }

    /// Gives up a deputy that cannot be used any more. It is reaped like other children.
    fn end(&mut self) {
        if let Some(running) = self.running.take() {
            kill(running.pid);
        }
    }
}

/// Waits until the channel is ready; returns false once that cannot happen any more.
fn wait(channel: &Channel, events: PollFlags, deadline: Instant, pid: pid_t) -> bool {
    let mut resumes = 0;
    loop {
        let mut watched = [PollFd::new(channel.as_fd(), events)];
        let timeout = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::MAX);
        match poll(&mut watched, timeout) {
            Ok(0) if Instant::now() > deadline => return false,
            Ok(0) if is_stopped(pid) => {
                if resumes == RESUMES {
                    return false;
                }
                resumes += 1;
                resume(pid);
            }
            Ok(0) | Err(Errno::EINTR) => {}
            Ok(_) => return true,
            Err(_) => return false,
        }
    }
}

fn share(fd: Option<BorrowedFd<'_>>) -> Result<Option<OwnedFd>, Failure> {
    fd.map(|fd| fd.try_clone_to_owned())
        .transpose()
        .map_err(|error| failure(error.raw_os_error().map_or(Errno::EMFILE, Errno::from_raw), "dup"))
}

fn failure(errno: Errno, syscall: &str) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: syscall.to_owned(),
        path: None,
    }
}
