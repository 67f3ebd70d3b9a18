//! Init's end of the control socket: reads requests and sends replies, without waiting for either.
//!
//! Replies that the socket does not accept are queued, with their descriptors. While [`QUEUE_BOUND`] replies are
//! queued, init reads no request, so that a host that sends and never receives cannot make init's memory grow.

use std::collections::VecDeque;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::channel::{DESCRIPTORS_DEADLINE, passes_unannounced};
use agent_vm_protocol::message::{Attached, Reply, Request};
use agent_vm_protocol::{Channel, Frame, FrameError, ReceiveError};

/// How many replies may be queued before init stops reading requests. Exits of running programs are queued beyond that;
/// there are at most as many as running families.
const QUEUE_BOUND: usize = 64;

/// How long to wait before [`Control::drain`] tries again.
const DRAIN_PAUSE: Duration = Duration::from_millis(1);

/// The control socket cannot be used any more, so the VM ends.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The host has closed it.
    #[error("the host closed the control socket")]
    Closed,
    /// A request did not arrive completely or did not decode.
    #[error(transparent)]
    Receive(#[from] ReceiveError),
    /// A reply does not fit into a message.
    #[error(transparent)]
    Frame(#[from] FrameError),
    /// Sending failed permanently.
    #[error("a reply was not taken")]
    Send(#[source] io::Error),
}

/// What must happen before the socket accepts more.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backlog {
    /// Nothing is queued.
    None,
    /// The socket must become writable.
    Socket,
    /// Descriptors in transit must arrive first (ETOOMANYREFS). No event reports that, so init waits a while.
    Descriptors,
}

/// A queued reply, and the time since when it is queued.
#[derive(Debug)]
struct Queued {
    frame: Frame,
    since: Instant,
}

/// Init's end of the socket.
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

    /// The next request; `None` if none has arrived.
    pub fn receive(&mut self) -> Result<Option<(Request, Attachments)>, ControlError> {
        match self.channel.receive(&mut self.buffer) {
            Ok(Some((request, fds))) => Ok(Some((request, Attachments::new(fds)))),
            Ok(None) => Err(ControlError::Closed),
            Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Sends a reply, or queues it behind earlier ones.
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

    /// Sends queued replies, as far as the socket accepts them. If the kernel refuses a reply's descriptors for longer
    /// than [`DESCRIPTORS_DEADLINE`], the reply is sent without them: the host then treats the call as if it had no
    /// room for them itself, and ends what was started. So later replies are delayed by at most that long.
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

    /// Sends all queued replies, waiting if necessary.
    pub fn drain(&mut self) -> Result<(), ControlError> {
        while self.backlog != Backlog::None {
            std::thread::sleep(DRAIN_PAUSE);
            self.flush()?;
        }
        Ok(())
    }

    /// What must happen before the socket accepts more.
    pub fn backlog(&self) -> Backlog {
        self.backlog
    }

    /// Whether init reads requests now.
    pub fn takes_requests(&self) -> bool {
        self.queue.len() < QUEUE_BOUND
    }
}

impl AsFd for Control {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.channel.as_fd()
    }
}

/// The descriptors that arrived with a request; each can be taken once.
#[derive(Debug)]
pub struct Attachments {
    fds: Vec<Option<OwnedFd>>,
}

impl Attachments {
    /// Attachments with these descriptors, in order.
    pub fn new(fds: Vec<OwnedFd>) -> Self {
        Self {
            fds: fds.into_iter().map(Some).collect(),
        }
    }

    /// The descriptor at `index`, without taking it.
    pub fn get(&self, index: Attached) -> Option<BorrowedFd<'_>> {
        self.fds.get(usize::from(index))?.as_ref().map(AsFd::as_fd)
    }

    /// The descriptors that were not taken, in order.
    pub fn into_fds(self) -> Vec<OwnedFd> {
        self.fds.into_iter().flatten().collect()
    }

    /// Takes the descriptor at `index`; `None` if it does not exist or was taken before.
    pub fn take(&mut self, index: Attached) -> Option<OwnedFd> {
        self.fds.get_mut(usize::from(index))?.take()
    }
}
