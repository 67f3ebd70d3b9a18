//! Processes that do for init what may have to wait for a program.
//!
//! A program can hold a lock of the kernel for as long as it likes, such as the lock of a file or of its own memory: it
//! only has to take the lock at a low priority and keep every processor busy. A process that needs the lock waits, and
//! often not even SIGKILL ends the wait. Init must not wait, because it also serves timeouts and kills. So it has
//! helpers: for the steps on files that the host asks for ([`files`](crate::files)), for working directories, and for
//! the calls that the kernel asks about ([`mediate`](crate::mediate)).
//!
//! A helper carries out one errand after another. If an errand takes longer than [`DEADLINE`], init kills the helper,
//! and the next errand goes to a new one. At most [`MOST_GIVEN_UP`] killed helpers may still be waiting for locks.
//!
//! A helper is a copy of init with init's rights, and programs can neither read nor trace it. In a VM with a pid
//! namespace programs can signal it, because it has their user; all that they achieve is that calls of their own VM
//! fail.

mod sys;

use std::collections::VecDeque;
use std::ffi::CStr;
use std::io;
use std::marker::PhantomData;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::channel::{DESCRIPTORS_DEADLINE, passes_unannounced};
use agent_vm_protocol::{Channel, Frame, ReceiveError};
use libc::pid_t;
use nix::errno::Errno;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::sys as main_sys;

pub use sys::close_all_but;

/// How long an errand may take: much longer than on a slow disk.
const DEADLINE: Duration = Duration::from_secs(10);

/// How often init checks whether a working helper was stopped.
const LOOK: Duration = Duration::from_millis(20);

/// How many times a stopped helper gets SIGCONT before init gives it up.
const RESUMES: u32 = 4;

/// How many helpers that were given up may still be waiting.
const MOST_GIVEN_UP: usize = 4;

/// How often init checks whether one of those has ended.
const LOOK_GIVEN_UP: Duration = Duration::from_secs(1);

/// How long to wait before an errand is sent again after the kernel refused its descriptors.
const DESCRIPTORS_PAUSE: Duration = Duration::from_millis(5);

/// How many helpers in turn get an errand, if each is gone before it begins the errand.
const TRIES: u32 = 3;

/// A helper, which answers errands with an `A`. The sender recognizes each errand by its `T`.
#[derive(Debug)]
pub struct Helper<T, A> {
    name: &'static CStr,
    running: Option<RunningHelper>,
    at_work: Option<AtWork<T>>,
    queue: VecDeque<QueuedErrand<T>>,
    given_up: Vec<HelperProcess>,
    buffer: Vec<u8>,
    answers: PhantomData<A>,
}

/// A finished errand: the answer with its descriptors, or why there is none. Without an answer it may have been carried
/// out or not.
pub type Finished<T, A> = (T, Result<(A, Vec<OwnedFd>), Errno>);

#[derive(Debug)]
struct HelperProcess {
    pid: pid_t,
    pidfd: OwnedFd,
}

#[derive(Debug)]
struct RunningHelper {
    process: HelperProcess,
    channel: Channel,
}

#[derive(Debug)]
struct AtWork<T> {
    ticket: T,
    since: Instant,
    resumes: u32,
}

#[derive(Debug)]
struct QueuedErrand<T> {
    ticket: T,
    frame: Frame,
    since: Instant,
}

impl<T, A: DeserializeOwned> Helper<T, A> {
    /// A helper whose process starts with the first errand. `name` is its name in process tables.
    pub fn new(name: &'static CStr) -> Self {
        Self {
            name,
            running: None,
            at_work: None,
            queue: VecDeque::new(),
            given_up: Vec::new(),
            buffer: Vec::new(),
            answers: PhantomData,
        }
    }

    /// Whether it has no errand.
    pub fn is_idle(&self) -> bool {
        self.at_work.is_none() && self.queue.is_empty()
    }

    /// Adds an errand, after earlier ones. [`advance`](Self::advance) sends it.
    pub fn submit(&mut self, ticket: T, errand: Frame) {
        self.queue.push_back(QueuedErrand {
            ticket,
            frame: errand,
            since: Instant::now(),
        });
    }

    /// A descriptor that is readable when there is an answer, or when the process has ended.
    pub fn fd(&self) -> Option<BorrowedFd<'_>> {
        self.running.as_ref().map(|running| running.channel.as_fd())
    }

    /// When [`advance`](Self::advance) must be called even if [`fd`](Self::fd) is not readable.
    pub fn due(&self) -> Option<Instant> {
        let now = Instant::now();
        let look = if self.at_work.is_some() {
            Some(now + LOOK)
        } else {
            (!self.queue.is_empty()).then_some(now + DESCRIPTORS_PAUSE)
        };
        let look_given_up = (!self.given_up.is_empty()).then_some(now + LOOK_GIVEN_UP);
        look.into_iter().chain(look_given_up).min()
    }

    /// The pids of its processes.
    pub fn pids(&self) -> impl Iterator<Item = pid_t> {
        let running = self.running.iter().map(|running| &running.process);
        running.chain(&self.given_up).map(|process| process.pid)
    }

    /// Takes answers, gives up a process that takes too long, and sends errands. A new process runs `serve`, and ends
    /// when that returns.
    pub fn advance(&mut self, serve: impl Fn(&Channel)) -> Vec<Finished<T, A>> {
        let mut finished = Vec::new();
        self.given_up
            .retain(|process| !sys::has_ended(process.pidfd.as_fd()));
        self.receive(&mut finished);
        while self.at_work.is_none()
            && let Some(waiting) = self.queue.pop_front()
        {
            match self.send(&waiting, &serve) {
                Ok(()) => {
                    self.at_work = Some(AtWork {
                        ticket: waiting.ticket,
                        since: Instant::now(),
                        resumes: 0,
                    });
                    break;
                }
                Err(Unsent::Later) => {
                    self.queue.push_front(waiting);
                    break;
                }
                Err(Unsent::Never(errno)) => finished.push((waiting.ticket, Err(errno))),
            }
        }
        finished
    }

    /// Ends it at the end of the VM.
    pub fn dismiss(&mut self) {
        self.queue.clear();
        self.at_work = None;
        self.give_up();
    }

    fn receive(&mut self, finished: &mut Vec<Finished<T, A>>) {
        let Some(running) = &self.running else { return };
        match running.channel.receive::<A>(&mut self.buffer) {
            Ok(Some(answer)) => match self.at_work.take() {
                Some(work) => finished.push((work.ticket, Ok(answer))),
                // It answered without an errand, so it is compromised or has a bug.
                None => self.give_up(),
            },
            Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if self.is_hopeless() {
                    self.lose(finished);
                }
            }
            Ok(None) | Err(_) => self.lose(finished),
        }
    }

    /// Whether its errand takes too long. Continues the process if another one has stopped it.
    fn is_hopeless(&mut self) -> bool {
        let (Some(work), Some(running)) = (&mut self.at_work, &self.running) else {
            return false;
        };
        let process = running.process.pidfd.as_fd();
        if work.since.elapsed() > DEADLINE {
            return true;
        }
        if sys::is_stopped(process) {
            work.resumes += 1;
            let _ended = main_sys::pidfd_send_signal(process, libc::SIGCONT);
        }
        work.resumes > RESUMES
    }

    /// Gives up the process and its current errand.
    fn lose(&mut self, finished: &mut Vec<Finished<T, A>>) {
        self.give_up();
        if let Some(work) = self.at_work.take() {
            finished.push((work.ticket, Err(Errno::EAGAIN)));
        }
    }

    fn give_up(&mut self) {
        if let Some(RunningHelper { process, .. }) = self.running.take() {
            let _ended = main_sys::pidfd_send_signal(process.pidfd.as_fd(), libc::SIGKILL);
            self.given_up.push(process);
        }
    }

    fn send(&mut self, waiting: &QueuedErrand<T>, serve: &impl Fn(&Channel)) -> Result<(), Unsent> {
        for _ in 0..TRIES {
            match self.start(serve)?.channel.send(&waiting.frame) {
                Ok(()) => return Ok(()),
                Err(error) if passes_unannounced(&error) => {
                    return Err(if waiting.since.elapsed() < DESCRIPTORS_DEADLINE {
                        Unsent::Later
                    } else {
                        Unsent::Never(Errno::EAGAIN)
                    });
                }
                // The process was killed before it had this errand.
                Err(_) => self.give_up(),
            }
        }
        Err(Unsent::Never(Errno::EAGAIN))
    }

    /// The running process, or a new one.
    fn start(&mut self, serve: &impl Fn(&Channel)) -> Result<&RunningHelper, Unsent> {
        if self.running.is_none() {
            if self.given_up.len() >= MOST_GIVEN_UP {
                return Err(Unsent::Never(Errno::EAGAIN));
            }
            let refused =
                |error: io::Error| Unsent::Never(error.raw_os_error().map_or(Errno::EAGAIN, Errno::from_raw));
            let (channel, theirs) = Channel::pair().map_err(refused)?;
            let name = self.name;
            let (pid, pidfd) = sys::copy(|| {
                main_sys::set_name(name);
                serve(&theirs);
            })
            .map_err(refused)?;
            self.running = Some(RunningHelper {
                process: HelperProcess { pid, pidfd },
                channel,
            });
        }
        self.running.as_ref().ok_or(Unsent::Never(Errno::EAGAIN))
    }
}

/// Why an errand was not sent.
enum Unsent {
    /// The kernel will accept its descriptors later.
    Later,
    /// It can never be sent.
    Never(Errno),
}

/// Carries out errands in a helper's process, until init is gone. There is always room for an answer, because init
/// takes each answer before it sends the next errand.
pub fn serve<E: DeserializeOwned, A: Serialize>(
    channel: &Channel,
    mut errand: impl FnMut(E, Vec<OwnedFd>) -> (A, Vec<OwnedFd>),
) {
    let mut buffer = Vec::new();
    loop {
        match channel.receive::<E>(&mut buffer) {
            Ok(Some((found, fds))) => {
                let (answer, fds) = errand(found, fds);
                let Ok(mut frame) = Frame::new(&answer, fds) else {
                    return;
                };
                // If the kernel refuses the descriptors, the answer is sent without them.
                let sent = channel.send_patiently(&frame, DESCRIPTORS_DEADLINE).is_ok()
                    || frame.drop_descriptors() && channel.send(&frame).is_ok();
                if !sent {
                    return;
                }
            }
            Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {
                if main_sys::wait_readable(channel).is_err() {
                    return;
                }
            }
            Ok(None) | Err(_) => return,
        }
    }
}
