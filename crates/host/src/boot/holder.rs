//! A process that holds a tree of files for many VMs: it makes the tree once, in its own mount namespace, and sends
//! mounts of it.
//!
//! It is a copy of the zygote with a VM's id, like any init, but runs no programs. A mount that it has sent is attached
//! nowhere until a VM's init attaches it, and it stays when the holder ends. The holder ends when this process does.

use std::os::fd::OwnedFd;

use agent_vm_protocol::channel::Channel;
use agent_vm_protocol::message::{HeldEntry, Hold, Reply, Request};

use super::error::BootError;
use super::exchange::{await_reply, no_room, send, unasked};
use super::init_process::InitProcess;
use super::launched::Specification;
use super::user::USER_ID;
use super::vm_ids::VmIds;

/// A holder. Dropping it ends it.
#[derive(Debug)]
pub struct Holder {
    channel: Channel,
    // Dropped in this order: first the process, then its ids.
    _process: InitProcess,
    _ids: VmIds,
    mounts: usize,
}

impl Holder {
    /// Starts a holder and has it make `entries`. It sends mounts of the paths in `tops`, in that order.
    pub fn start(
        specification: &Specification,
        entries: Vec<HeldEntry>,
        tops: &[String],
    ) -> Result<Self, BootError> {
        let (process, channel, ids) = specification.launch_alone()?;
        let request = Request::Hold(Box::new(Hold {
            take_id: ids.of_user().map(|_| USER_ID),
            entries,
            tops: tops.to_vec(),
        }));
        send(&channel, &request, Vec::new())?;
        match await_reply(&channel)? {
            (Reply::Held, _) => Ok(Self {
                channel,
                _process: process,
                _ids: ids,
                mounts: tops.len(),
            }),
            _ => Err(unasked()),
        }
    }

    /// Detached mounts of the tops.
    pub fn hand_out(&self) -> Result<Vec<OwnedFd>, BootError> {
        send(&self.channel, &Request::HandOut, Vec::new())?;
        match await_reply(&self.channel)? {
            (Reply::Held, fds) if fds.len() == self.mounts => Ok(fds),
            (Reply::Held, _) => Err(no_room()),
            _ => Err(unasked()),
        }
    }
}
