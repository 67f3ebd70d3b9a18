//! Makes one new layer that shows what several layers show together.
//!
//! A copy of the zygote does it, in its own user and mount namespaces, and runs no program. Names are opened in the directory
//! before, and links are never followed, whatever an earlier VM has left.

mod file;
mod names;
mod walk;

use std::ffi::CStr;
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_mount::{attr, new_mount};
use agent_vm_protocol::message::{BootStep, MergeLayers};
use nix::errno::Errno;
use nix::sys::prctl;
use nix::sys::stat::{Mode, umask};

use crate::boot::{At, BootError, PARTS, identity};
use crate::control::Attachments;

use walk::Walk;

/// The new layer: the mount of a file system in memory.
pub fn run(wanted: &MergeLayers, mut attachments: Attachments) -> Result<OwnedFd, BootError> {
    identity::take(wanted.take_id)?;
    identity::raise_open_files()?;
    prctl::set_dumpable(false).at(BootStep::HideMerger)?;
    umask(Mode::empty());
    let mut layers = Vec::new();
    for &index in &wanted.layers {
        let mount_fd = attachments.take(index).ok_or(Errno::EBADF);
        layers.push(mount_fd.at(BootStep::AttachLayers)?);
    }
    let mount_fd = file_system(wanted).at(BootStep::MountMerged)?;
    for part in PARTS {
        Walk::merge(&layers, part, mount_fd.as_fd()).at(BootStep::MergeLayers)?;
    }
    Ok(mount_fd)
}

fn file_system(wanted: &MergeLayers) -> Result<OwnedFd, Errno> {
    let text = |number: u64| std::ffi::CString::new(number.to_string()).map_err(|_| Errno::EINVAL);
    let (bytes, files) = (text(wanted.bytes)?, text(wanted.files)?);
    let options: [(&CStr, &CStr); 3] = [(c"mode", c"0755"), (c"size", &bytes), (c"nr_inodes", &files)];
    new_mount(c"tmpfs", &options, attr::NOSUID | attr::NODEV)
}
