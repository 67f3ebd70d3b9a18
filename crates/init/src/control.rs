//! Init's end of the control socket: requests in, replies out, neither ever waited for.
//!
//! Replies that the socket does not take are queued, with their descriptors. While [`QUEUE_BOUND`] of them wait, no
//! request is read, so a host that sends and never receives cannot make init's memory grow.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::channel::{DESCRIPTORS_DEADLINE, passes_unannounced};
use agent_vm_protocol::message::{Attached, Reply, Request};
use agent_vm_protocol::{Channel, Frame, FrameError, ReceiveError};

/// Replies that may wait before init stops reading requests. Exits of what already runs are queued beyond it; there are
/// at most as many as there are running families.
const QUEUE_BOUND: usize = 64;

/// How long to wait before [`Control::drain`] tries again.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

/// The control socket is of no more use, and so the VM is over.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The host is gone.
    #[error("the host closed the control socket")]
    Closed,
    /// A request did not arrive whole or did not decode.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A reply does not fit into a message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Sending failed for good.
    #[error("a reply was not taken")]
    Send(#[source] io::Error),
}

/// What is needed before the socket takes more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// Nothing waits.
    None,
    /// The socket must become writable.
    Socket,
    /// Descriptors that are on their way must arrive first (ETOOMANYREFS); nothing tells when, so time must pass.
    Descriptors,
}

/// A reply, and since when it has been waiting to be sent.
#[derive(Debug)]
struct Queued {
    frame: Frame,
    since: Instant,
}

/// Init's end.
#[derive(Debug)]
pub struct Control {
    channel: Channel,
    queue: VecDeque<Queued>,
    backlog: Backlog,
    buffer: Vec<u8>,
}

impl Control {
    /// Takes over the socket.
    pub fn new(socket: OwnedFd) -> Self {
        Self {
            channel: Channel::from(socket),
            queue: VecDeque::new(),
            backlog: Backlog::None,
            buffer: Vec::new(),
        }
    }

    /// The next request, or nothing if none has arrived.
    pub fn receive(&mut self) -> Result<Option<(Request, Attachments)>, ControlError> {
        match self.channel.receive(&mut self.buffer) {
            Ok(Some((request, fds))) => Ok(Some((request, Attachments::new(fds)))),
            Ok(None) => Err(ControlError::Closed),
            Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a reply, or queues it behind those that wait.
    pub fn send(&mut self, reply: &Reply, fds: Vec<OwnedFd>) -> Result<(), ControlError> {
        self.queue.push_back(Queued {
            frame: Frame::new(reply, fds)?,
            since: Instant::now(),
        });
        if self.backlog == Backlog::None {
            self.flush()
        } else {
            Ok(())
        }
    }

    /// Sends what waits, as far as the socket takes it. A reply whose descriptors the kernel refuses for longer than
    /// [`DESCRIPTORS_DEADLINE`] goes without them: the host then answers its call as if it had no room for them itself, and ends
    /// what was started. All that waits behind it is thus held up for that long at most.
    pub fn flush(&mut self) -> Result<(), ControlError> {
        self.backlog = Backlog::None;
        while let Some(first) = self.queue.front_mut() {
            match self.channel.send(&first.frame) {
                Ok(()) => drop(self.queue.pop_front()),
                Err(error) if passes_unannounced(&error) => {
                    if first.since.elapsed() > DESCRIPTORS_DEADLINE && first.frame.drop_descriptors() {
                        continue;
                    }
                    self.backlog = Backlog::Descriptors;
                    return Ok(());
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {
                    self.backlog = Backlog::Socket;
                    return Ok(());
                }
                Err(error) => return Err(ControlError::Send(error)),
            }
        }
        Ok(())
    }

    /// Sends all that waits, where there is nothing else to do meanwhile.
    pub fn drain(&mut self) -> Result<(), ControlError> {
        while self.backlog != Backlog::None {
            std::thread::sleep(DRAIN_PAUSE);
            self.flush()?;
        }
        Ok(())
    }

    /// What is needed before the socket takes more.
    pub fn backlog(&self) -> Backlog {
        self.backlog
    }

    /// Whether requests are read for now.
    pub fn takes_requests(&self) -> bool {
        self.queue.len() < QUEUE_BOUND
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The descriptors that came with a request; each can be taken once.
#[derive(Debug)]
pub struct Attachments {
    fds: Vec<Option<OwnedFd>>,
}

impl Attachments {
    /// These, in their order.
    pub fn new(fds: Vec<OwnedFd>) -> Self {
        Self {
            fds: fds.into_iter().map(Some).collect(),
        }
    }

    /// The descriptor at `index`, to look at.
    pub fn get(&self, index: Attached) -> Option<BorrowedFd<'_>> {
        self.fds.get(usize::from(index))?.as_ref().map(AsFd::as_fd)
    }

    /// Those that were not taken, in their order.
    pub fn into_fds(self) -> Vec<OwnedFd> {
        self.fds.into_iter().flatten().collect()
    }

    /// The descriptor at `index`, if there is one and it was not taken before.
    pub fn take(&mut self, index: Attached) -> Option<OwnedFd> {
        self.fds.get_mut(usize::from(index))?.take()
    }
}
