//! The inner user namespace, in which programs are root.
//!
//! It is a child of the VM's own user namespace, and init stays outside of it. The kernel gives every capability in a
//! user namespace to a process of the parent namespace that has its owner's id, and init has that id. So init, which
//! has no capability in its own namespace, can start programs in the inner one and signal them, as any user there.
//! No process in the inner namespace has a capability outside of it: mounts, network and processes such as init belong
//! to the VM's own user namespace.

use std::ffi::CString;
use std::os::fd::{BorrowedFd, OwnedFd};

use agent_vm_protocol::message::{BootStep, InnerIds};
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::sys::prctl;
use nix::sys::stat::Mode;
use nix::unistd::write;

use super::error::{At, BootError};
use super::place::c_string;
use super::sys::Sleeper;

/// What is root inside, and `user` outside.
const SINGLE_MAP: &[u8] = b"0 1000 1\n";

/// All ids of the VM. A range may not extend over several ranges of the outer map, in which `user` may be the server's user.
const RANGE_MAP: &[u8] = b"0 0 1000\n1000 1000 1\n1001 1001 64535\n";

/// Makes the namespace and maps its ids. It lives as long as the descriptor or a process in it.
///
/// Its limit on processes is the one that init has now, and counts those of `user` too, because the kernel counts a
/// process of the inner namespace for the owner of that namespace as well.
pub fn make(proc_fd: BorrowedFd<'_>, ids: InnerIds) -> Result<OwnedFd, BootError> {
    // Else the files in /proc of the process below belong to the host's root. No program runs yet, and the boot
    // hides init again.
    prctl::set_dumpable(true).at(BootStep::MakeInnerNamespace)?;
    let sleeper = Sleeper::start(libc::CLONE_NEWUSER)
        .map_err(|error| BootError::new(BootStep::MakeInnerNamespace, &error))?;
    let (uids, gids) = match ids {
        InnerIds::Single => (SINGLE_MAP, SINGLE_MAP),
        InnerIds::Range => (RANGE_MAP, RANGE_MAP),
    };
    let path = |name: &str| c_string(&format!("{}/{name}", sleeper.pid()));
    // With a single id, the VM's own namespace has given up setgroups(2) before, which this one inherits.
    let map = |name: &str, text: &[u8]| write_whole(proc_fd, &path(name)?, text);
    map("gid_map", gids).at(BootStep::MapInnerIds)?;
    map("uid_map", uids).at(BootStep::MapInnerIds)?;
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    path("ns/user")
        .and_then(|path| openat(proc_fd, &*path, flags, Mode::empty()))
        .at(BootStep::OpenInnerNamespace)
}

/// The kernel takes a map in one write.
fn write_whole(proc_fd: BorrowedFd<'_>, path: &CString, text: &[u8]) -> Result<(), Errno> {
    let flags = OFlag::O_WRONLY | OFlag::O_CLOEXEC;
    let fd = openat(proc_fd, &**path, flags, Mode::empty())?;
    match write(&fd, text)? {
        length if length == text.len() => Ok(()),
        _ => Err(Errno::EIO),
    }
}
