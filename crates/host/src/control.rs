//! The connection to init: sends requests, and gives each reply to the caller that waits for it.
//!
//! A request is sent on the calling thread if the socket accepts it, which saves a hop to the I/O thread; otherwise it
//! is queued and sent in order. One task on the I/O thread reads the replies.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use agent_vm_protocol::channel::{
    Channel, DESCRIPTORS_DEADLINE, Frame, FrameError, ReceiveError, passes_unannounced,
};
use agent_vm_protocol::message::{Call, Exit, Reply, Request};
use nix::sys::resource::{Resource, getrlimit};
use parking_lot::Mutex;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, oneshot};

use crate::error::Error;
use crate::sys;

/// The maximum number of requests that wait for replies; another one is refused.
pub const MAX_CALLS: usize = 65_536;

/// How long to wait before sending again if no event reports when sending will succeed: too many descriptors are in
/// transit, or the host has none left to watch the socket.
const RETRY: Duration = Duration::from_millis(1);

/// A program that init has started.
#[derive(Debug)]
pub struct StartedProgram {
    /// The number of its call, and of its family.
    pub call: Call,
    /// Its pid in the VM.
    pub pid: u32,
    /// The descriptors that its `Stdio` describes.
    pub fds: Vec<OwnedFd>,
    /// Receives how it ended. An error means that the VM is gone.
    pub exit: oneshot::Receiver<Exit>,
}

/// Receives the result of a start. Called on the I/O thread, or on the caller's thread if the request cannot be sent.
pub type OnStart = Box<dyn FnOnce(Result<StartedProgram, Error>) + Send>;

/// A reply that is not about a program.
pub type ReplyAndFds = (Reply, Vec<OwnedFd>);

/// Init sent a reply to no request: it has a bug or is compromised.
#[derive(Debug, thiserror::Error)]
#[error("init answered a call that was not made")]
struct Unasked;

enum PendingCall {
    Start(OnStart),
    Answer(oneshot::Sender<Result<ReplyAndFds, Error>>),
}

/// The host's end of the control socket.
pub struct Control {
    channel: AsyncFd<Channel>,
    next: AtomicU64,
    state: Mutex<ControlState>,
    queued: Notify,
    /// The pids of the processes that work for init.
    helpers: Mutex<Vec<u32>>,
}

/// A request that the socket did not accept at once.
struct QueuedRequest {
    /// `None` if the request gets no reply. Such a request has no descriptors, and only descriptors make the kernel
    /// refuse a request.
    call: Option<Call>,
    frame: Frame,
    since: Instant,
}

#[derive(Default)]
struct ControlState {
    queue: VecDeque<QueuedRequest>,
    waiting: HashMap<Call, PendingCall>,
    exits: HashMap<Call, oneshot::Sender<Exit>>,
    gone: bool,
}

impl Control {
    /// Takes over the socket. Must be called within the runtime.
    pub fn new(channel: Channel, helpers: Vec<u32>) -> io::Result<Self> {
        Ok(Self {
            channel: sys::watch(channel, Interest::READABLE)?,
            next: AtomicU64::new(1),
            state: Mutex::default(),
            queued: Notify::new(),
            helpers: Mutex::new(helpers),
        })
    }

    /// The pids of the processes that work for init: its deputy, where it has one, and helpers.
    pub fn helpers(&self) -> Vec<u32> {
        self.helpers.lock().clone()
    }

    /// A new number for a request.
    pub fn call(&self) -> Call {
        self.next.fetch_add(1, Ordering::Relaxed)
    }

    /// Goes on with the numbers of another one, in place of which it serves. None was given yet.
    pub fn continue_after(&self, earlier: &Self) {
        self.next.store(earlier.call(), Ordering::Relaxed);
    }

    /// Sends a request that starts a program; `on_start` is called exactly once.
    pub fn start(&self, call: Call, request: &Request, on_start: OnStart) {
        if let Err((error, waiting)) = self.send(call, request, Vec::new(), PendingCall::Start(on_start)) {
            waiting.fail(error);
        }
    }

    /// Sends any other request and waits for its reply.
    pub async fn ask(&self, call: Call, request: Request, fds: Vec<OwnedFd>) -> Result<ReplyAndFds, Error> {
        let (sender, receiver) = oneshot::channel();
        self.send(call, &request, fds, PendingCall::Answer(sender))
            .map_err(|(error, _)| error)?;
        receiver.await.unwrap_or(Err(Error::Disposed))
    }

    /// Sends a request that gets no reply. Does nothing if the VM is gone.
    pub fn tell(&self, request: &Request) {
        tracing::trace!(request = request.name(), "told");
        match Frame::new(request, Vec::new()) {
            Ok(frame) => {
                let mut state = self.state.lock();
                if !state.gone {
                    self.dispatch(&mut state, None, frame);
                }
            }
            // A request without a reply has only a few bytes.
            Err(error) => tracing::error!(%error, "a request was not sent"),
        }
    }

    fn dispatch(&self, state: &mut ControlState, call: Option<Call>, frame: Frame) {
        if !state.queue.is_empty() || self.channel.get_ref().send(&frame).is_err() {
            // Queued even after a permanent error: the reading side then meets the end of the VM and fails every call.
            state.queue.push_back(QueuedRequest {
                call,
                frame,
                since: Instant::now(),
            });
            self.queued.notify_one();
        }
    }

    fn send(
        &self,
        call: Call,
        request: &Request,
        fds: Vec<OwnedFd>,
        waiting: PendingCall,
    ) -> Result<(), (Error, PendingCall)> {
        tracing::trace!(call, request = request.name(), "asked");
        if let Request::Spawn(spawn) = request
            && spawn.words_bytes() > most_words_bytes()
        {
            return Err((too_long(), waiting));
        }
        let frame = match Frame::new(request, fds) {
            Ok(frame) => frame,
            Err(FrameError::TooLarge { .. }) => {
                return Err((too_long(), waiting));
            }
            Err(FrameError::File(error)) => return Err((Error::system(&error, "memfd_create"), waiting)),
            Err(error) => return Err((Error::InvalidArgument(error.to_string()), waiting)),
        };
        let mut state = self.state.lock();
        if state.gone {
            return Err((Error::Disposed, waiting));
        }
        if state.waiting.len() >= MAX_CALLS {
            let text = format!("{MAX_CALLS} calls of this VM are waiting already; await some of them first");
            return Err((Error::LimitExceeded(text), waiting));
        }
        state.waiting.insert(call, waiting);
        self.dispatch(&mut state, Some(call), frame);
        Ok(())
    }

    /// Sends queued requests and delivers replies, until init is gone.
    pub async fn run(&self) {
        tokio::select! {
            () = self.send_queued() => {}
            error = self.receive() => {
                if let Some(error) = error {
                    tracing::error!(%error, "the control socket failed; the VM is given up");
                }
            }
        }
    }

    async fn send_queued(&self) {
        loop {
            self.queued.notified().await;
            while !self.state.lock().queue.is_empty() {
                match self.send_first() {
                    Ok(()) => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                        if self.writable().await.is_err() {
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                    Err(error) if passes_unannounced(&error) => {
                        if !self.give_up_overdue() {
                            tokio::time::sleep(RETRY).await;
                        }
                    }
                    // The receiving side meets the same end, after the last replies.
                    Err(_) => return std::future::pending().await,
                }
            }
        }
    }

    /// Waits until the socket accepts more. The socket is watched only while it is full: otherwise every message that
    /// init reads would wake the I/O thread, once or twice for each command.
    async fn writable(&self) -> io::Result<()> {
        let socket = self.channel.get_ref().as_fd().try_clone_to_owned()?;
        drop(sys::watch(socket, Interest::WRITABLE)?.writable().await?);
        Ok(())
    }

    fn send_first(&self) -> io::Result<()> {
        let mut state = self.state.lock();
        if let Some(first) = state.queue.front() {
            self.channel.get_ref().send(&first.frame)?;
            state.queue.pop_front();
        }
        Ok(())
    }

    /// Fails the first queued call if the kernel has refused its descriptors for too long. Returns whether it did. The
    /// calls behind it have waited as long, and each is tried once more.
    fn give_up_overdue(&self) -> bool {
        let waiting = {
            let mut state = self.state.lock();
            let overdue =
                |first: &QueuedRequest| first.call.is_some() && first.since.elapsed() > DESCRIPTORS_DEADLINE;
            if !state.queue.front().is_some_and(overdue) {
                return false;
            }
            let first = state.queue.pop_front();
            first
                .and_then(|first| first.call)
                .and_then(|call| state.waiting.remove(&call))
        };
        if let Some(waiting) = waiting {
            waiting.fail(Error::LimitExceeded(in_flight()));
        }
        true
    }

    async fn receive(&self) -> Option<ReceiveError> {
        let mut buffer = Vec::new();
        loop {
            let Ok(mut ready) = self.channel.readable().await else {
                return None;
            };
            loop {
                match self.channel.get_ref().receive::<Reply>(&mut buffer) {
                    Ok(Some((reply, fds))) => {
                        if let Err(error) = self.deliver(reply, fds) {
                            tracing::error!(%error, "the VM is given up");
                            return None;
                        }
                    }
                    Ok(None) => return None,
                    Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => break,
                    Err(error) => return Some(error),
                }
            }
            ready.clear_ready();
        }
    }

    /// Gives a reply to the caller that waits for it. A reply without a request breaks the protocol.
    fn deliver(&self, reply: Reply, fds: Vec<OwnedFd>) -> Result<(), Unasked> {
        match reply {
            Reply::Spawned { call, pid } => {
                tracing::debug!(call, pid, "started");
                let (sender, exit) = oneshot::channel();
                let on_start = self.take_start(call, Some(sender))?;
                on_start(Ok(StartedProgram { call, pid, fds, exit }));
            }
            Reply::Ran { call, pid, exit } => {
                tracing::debug!(call, pid, "started");
                log_exit(call, &exit);
                let on_start = self.take_start(call, None)?;
                let (sender, receiver) = oneshot::channel();
                let _ = sender.send(exit);
                on_start(Ok(StartedProgram {
                    call,
                    pid,
                    fds,
                    exit: receiver,
                }));
            }
            Reply::Exited { call, exit } => {
                log_exit(call, &exit);
                let sender = self.state.lock().exits.remove(&call).ok_or(Unasked)?;
                // The caller may have stopped waiting, together with the VM.
                drop(sender.send(exit));
            }
            Reply::Failed { call, error } => {
                tracing::debug!(call, ?error, "refused");
                let waiting = self.state.lock().waiting.remove(&call).ok_or(Unasked)?;
                waiting.fail(error.into());
            }
            Reply::Done { call }
            | Reply::Connected { call }
            | Reply::Opened { call }
            | Reply::Attributes { call, .. }
            | Reply::Measured { call, .. }
            | Reply::Layer { call, .. }
            | Reply::Path { call, .. }
            | Reply::Removed { call, .. }
            | Reply::Several { call, .. }
            | Reply::Entered { call, .. } => {
                let waiting = {
                    let mut state = self.state.lock();
                    let Some(PendingCall::Answer(_)) = state.waiting.get(&call) else {
                        return Err(Unasked);
                    };
                    state.waiting.remove(&call)
                };
                if let Some(PendingCall::Answer(sender)) = waiting {
                    // The caller may have stopped waiting.
                    drop(sender.send(Ok((reply, fds))));
                }
            }
            Reply::Helpers { pids } => *self.helpers.lock() = pids,
            Reply::HardwareDescribed { .. }
            | Reply::Settled
            | Reply::Launched { .. }
            | Reply::LaunchFailed { .. }
            | Reply::Held
            | Reply::Kept { .. }
            | Reply::NotKept { .. }
            | Reply::IdsMapped
            | Reply::IdsNotMapped { .. }
            | Reply::Merged
            | Reply::Ready { .. }
            | Reply::BootFailed { .. } => return Err(Unasked),
        }
        Ok(())
    }

    /// Takes the caller that waits for a start. If an `exit` will follow, records who receives it.
    fn take_start(&self, call: Call, exit: Option<oneshot::Sender<Exit>>) -> Result<OnStart, Unasked> {
        let mut state = self.state.lock();
        match state.waiting.remove(&call) {
            Some(PendingCall::Start(on_start)) => {
                state.exits.extend(exit.map(|sender| (call, sender)));
                Ok(on_start)
            }
            // That call does not wait for a start; it fails when the VM ends.
            Some(other) => {
                state.waiting.insert(call, other);
                Err(Unasked)
            }
            None => Err(Unasked),
        }
    }

    /// Makes init see the end of its socket, as if this process had ended.
    pub fn hang_up(&self) {
        // It can fail only if the socket has already ended.
        let _ended = nix::sys::socket::shutdown(
            self.channel.get_ref().as_fd().as_raw_fd(),
            nix::sys::socket::Shutdown::Both,
        );
    }

    /// Fails all waiting calls and all later ones.
    pub fn close(&self) {
        let (waiting, exits) = {
            let mut state = self.state.lock();
            state.gone = true;
            state.queue.clear();
            (
                std::mem::take(&mut state.waiting),
                std::mem::take(&mut state.exits),
            )
        };
        drop(exits);
        for waiting in waiting.into_values() {
            waiting.fail(Error::Disposed);
        }
    }
}

/// The message for a request that could not be sent with its descriptors.
fn in_flight() -> String {
    format!(
        "the kernel did not take the call's descriptors within {} s: programs of the server's user have sent more over Unix sockets \
         than one process may open, and nobody has received them. End the VM that sent them, or raise the server's hard limit on \
         open files (ulimit -Hn)",
        DESCRIPTORS_DEADLINE.as_secs()
    )
}

/// Logs nothing about the program or its output.
fn log_exit(call: Call, exit: &Exit) {
    let Exit {
        code, signal, oom, ..
    } = exit;
    tracing::debug!(
        call,
        code,
        signal,
        oom,
        background = exit.background.len(),
        "exited"
    );
}

impl PendingCall {
    fn fail(self, error: Error) {
        match self {
            Self::Start(on_start) => on_start(Err(error)),
            Self::Answer(sender) => drop(sender.send(Err(error))),
        }
    }
}

/// The error that `execve` would return.
fn too_long() -> Error {
    Error::System {
        errno: libc::E2BIG,
        syscall: "execve".into(),
        path: None,
    }
}

/// The maximum size of arguments and environment together that `execve` accepts (the kernel's `bprm_stack_limits`).
/// Init never gets more: otherwise init's peak memory would grow, and the kernel reports that peak for every program
/// that init starts afterwards.
fn most_words_bytes() -> usize {
    const LEAST: u64 = 128 * 1024;
    const MOST: u64 = 6 * 1024 * 1024;
    static BYTES: OnceLock<usize> = OnceLock::new();
    *BYTES.get_or_init(|| {
        let (soft, _) = getrlimit(Resource::RLIMIT_STACK).unwrap_or((u64::MAX, u64::MAX));
        (soft / 4).clamp(LEAST, MOST) as usize
    })
}
