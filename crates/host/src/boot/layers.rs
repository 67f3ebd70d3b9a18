//! The layers below a VM, as mounts for its init.

use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use agent_vm_layers::Layer;
use agent_vm_mount::{attr, clone_mount, restrict_and_map};
use agent_vm_protocol::message::{self, Attached};
use nix::errno::Errno;

use super::error::BootError;
use super::vm_ids::VmIds;

/// Adds the mounts to `fds`. A server that gives each VM ids of its own maps the owners of the layers' files onto those of
/// the VM whose init has this pid: id N of an earlier VM is id N of this one. Where all VMs have the same ids, init uses
/// the mounts as they are.
pub fn attach<'a>(
    layers: impl IntoIterator<Item = &'a Layer>,
    ids: &VmIds,
    pid: i32,
    fds: &mut Vec<OwnedFd>,
) -> Result<message::Layers, BootError> {
    let mut layers = layers.into_iter().peekable();
    if layers.peek().is_none() {
        return Ok(message::Layers::default());
    }
    let user_namespace = match ids {
        VmIds::Leased(_) => Some(user_namespace(pid).map_err(BootError::Layers)?),
        VmIds::Own | VmIds::Subordinate(_) => None,
    };
    let mut mounts = Vec::new();
    for layer in layers {
        let mount_fd = match &user_namespace {
            Some(user_namespace) => mapped(layer, user_namespace.as_fd()),
            None => layer.mount().and_then(|mount_fd| {
                mount_fd
                    .try_clone_to_owned()
                    .map_err(|error| Errno::from_raw(error.raw_os_error().unwrap_or(libc::EIO)))
            }),
        };
        mounts.push(fds.len() as Attached);
        fds.push(mount_fd.map_err(|errno| BootError::Layers(errno.into()))?);
    }
    Ok(message::Layers {
        mounts,
        shared: user_namespace.is_none(),
    })
}

/// A clone of the layer's mount in which id N of its user namespace is id N of this one.
fn mapped(layer: &Layer, user_namespace: BorrowedFd<'_>) -> Result<OwnedFd, Errno> {
    let mount_fd = clone_mount(layer.mount()?, c"", false)?;
    let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV;
    restrict_and_map(mount_fd.as_fd(), attributes, user_namespace)?;
    Ok(mount_fd)
}

/// How long an init may take to map its id, which is the first that it does.
const PATIENCE: Duration = Duration::from_secs(5);

/// The user namespace of an init. Owners can be mapped by it only once it has a map.
fn user_namespace(pid: i32) -> io::Result<File> {
    let deadline = Instant::now() + PATIENCE;
    // Init writes this one last.
    while fs::read(format!("/proc/{pid}/uid_map"))?.is_empty() {
        if Instant::now() > deadline {
            return Err(io::ErrorKind::TimedOut.into());
        }
        thread::sleep(Duration::from_micros(20));
    }
    File::open(format!("/proc/{pid}/ns/user"))
}
