//! Requests to a copy of the zygote before it has booted, and its replies.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use agent_vm_protocol::channel::{Channel, DESCRIPTORS_DEADLINE, Frame, ReceiveError};
use agent_vm_protocol::message::{Reply, Request};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use super::error::BootError;

/// How long init may take to reply: a thousand times as long as making a VM takes on an idle machine.
const DEADLINE: Duration = Duration::from_secs(30);

/// Sends a request with descriptors.
pub fn send(channel: &Channel, request: &Request, fds: Vec<OwnedFd>) -> Result<(), BootError> {
    channel
        .send_patiently(&Frame::new(request, fds)?, DESCRIPTORS_DEADLINE)
        .map_err(BootError::Channel)
}

/// Waits for a reply. If init reports an error, returns it.
pub fn await_reply(channel: &Channel) -> Result<(Reply, Vec<OwnedFd>), BootError> {
    await_reply_within(channel, DEADLINE)
}

/// The same for a request that may take as long as `patience`.
pub fn await_reply_within(channel: &Channel, patience: Duration) -> Result<(Reply, Vec<OwnedFd>), BootError> {
    let deadline = Instant::now() + patience;
    let mut buffer = Vec::new();
    loop {
        match channel.receive::<Reply>(&mut buffer) {
            Ok(Some((Reply::BootFailed { step, errno }, _))) => return Err(BootError::SetUp { step, errno }),
            Ok(Some(received)) => return Ok(received),
            Ok(None) => return Err(BootError::Died(None)),
            Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(BootError::Died(Some(error))),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BootError::Deadline(patience));
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(BootError::Channel(error.into())),
        }
    }
}

/// The error for a reply to another request than was sent.
pub fn unasked() -> BootError {
    BootError::Died(None)
}

/// The error for a reply whose descriptors did not arrive: this process had no room for them (`unix(7)`, `SCM_RIGHTS`).
pub fn no_room() -> BootError {
    BootError::Channel(io::Error::from_raw_os_error(libc::EMFILE))
}
