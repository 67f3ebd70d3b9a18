//! What init sends when the VM's sandbox is complete.

use std::os::fd::OwnedFd;

use agent_vm_protocol::channel::Channel;
use agent_vm_protocol::message::{Isolation, Reply};

use super::error::BootError;
use super::exchange::{await_reply, no_room, unasked};
use super::landlock::LandlockError;
use super::options::{Network, Options};

/// What init sends.
pub struct Ready {
    /// The VM's `/proc`.
    pub proc_fd: OwnedFd,
    /// The socket to serve, if the VM has one.
    pub listener: Option<OwnedFd>,
    /// The pids of the processes that work for init.
    pub helpers: Vec<u32>,
}

impl Ready {
    /// Waits for init to answer a boot request for `options`.
    pub fn await_from(channel: &Channel, options: &Options) -> Result<Self, BootError> {
        let (Reply::Ready { helpers }, fds) = await_reply(channel).map_err(|error| match error {
            BootError::SetUp { step, errno } if options.isolation == Isolation::Landlock => {
                LandlockError::SetUp { step, errno }.into()
            }
            other => other,
        })?
        else {
            return Err(unasked());
        };
        let mut fds = fds.into_iter();
        let proc_fd = fds.next().ok_or_else(no_room)?;
        let is_served = matches!(options.network, Network::Allow(_));
        let listener = match (fds.next(), is_served) {
            (Some(_), false) => return Err(unasked()),
            (None, true) => return Err(no_room()),
            (listener, _) => listener,
        };
        Ok(Self {
            proc_fd,
            listener,
            helpers,
        })
    }
}
