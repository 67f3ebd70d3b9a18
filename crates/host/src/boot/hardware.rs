//! The description of the processors that this server's VMs show as `/sys`. It is made once, by a copy of init that
//! becomes no VM.
//!
//! From Linux 6.15 on, every VM clones the same mount. Before that, a detached mount cannot be cloned, so several are
//! made at a time, one for each VM.

use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{Attached, Hardware, Launch, OwnMap, Reply, Request};
use parking_lot::Mutex;

use super::cgroup;
use super::error::BootError;
use super::exchange::{await_reply, no_room, send, unasked};
use super::user::USER_ID;
use super::zygote::{self, Program};

static MADE: Mutex<Option<Made>> = Mutex::new(None);

struct Made {
    /// The server's user when it was made.
    user: (u32, u32),
    can_clone: bool,
    mount_fds: Vec<OwnedFd>,
}

/// A description for one VM, whose mount is added to `fds`.
pub fn take(program: &Program, fds: &mut Vec<OwnedFd>) -> Result<Hardware, BootError> {
    let mut made = MADE.lock();
    let serves = |made: &Made| made.user == program.user && !made.mount_fds.is_empty();
    if !made.as_ref().is_some_and(serves) {
        *made = Some(make(program)?);
    }
    let Some(Made {
        can_clone, mount_fds, ..
    }) = made.as_mut()
    else {
        return Err(unasked());
    };
    let mount_fd = if *can_clone {
        let shared = mount_fds.last().ok_or_else(unasked)?;
        shared.as_fd().try_clone_to_owned().map_err(BootError::Channel)?
    } else {
        mount_fds.pop().ok_or_else(unasked)?
    };
    fds.push(mount_fd);
    Ok(Hardware {
        mount: (fds.len() - 1) as Attached,
        can_clone: *can_clone,
    })
}

fn make(program: &Program) -> Result<Made, BootError> {
    let (uid, gid) = program.user;
    // Its files belong to the server's user, which no VM of a root server has.
    let launch = Launch {
        namespaces: libc::CLONE_NEWUSER | libc::CLONE_NEWNS,
        cgroup: false,
        joins: 0,
        joins_after: 0,
        reports: false,
        own_map: Some(OwnMap {
            inside: USER_ID,
            uid,
            gid,
            is_part: false,
        }),
        take_ids: false,
    };
    let (_init, channel) = zygote::launch(program, &launch, &[])?;
    let request = Request::DescribeHardware {
        directories: cgroup::shown_at(),
    };
    send(&channel, &request, Vec::new())?;
    match await_reply(&channel)? {
        (Reply::HardwareDescribed { .. }, mount_fds) if mount_fds.is_empty() => Err(no_room()),
        (Reply::HardwareDescribed { can_clone }, mount_fds) => Ok(Made {
            user: program.user,
            can_clone,
            mount_fds,
        }),
        _ => Err(unasked()),
    }
}
