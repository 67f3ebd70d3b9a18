//! The VM's `/dev`: the devices that every program expects, and the VM's own terminals.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};

use agent_vm_mount::{attach_mount, attr, clone_mount, new_mount, restrict_mount};
use agent_vm_protocol::message::BootStep;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, openat};
use nix::sys::stat::Mode;
use nix::unistd::symlinkat;

use super::error::{At, BootError};
use super::place::{directory, file_flags, open_path};

/// Bind-mounted, because a user namespace cannot make device nodes.
const DEVICES: [(&CStr, &CStr); 6] = [
    (c"null", c"/dev/null"),
    (c"zero", c"/dev/zero"),
    (c"full", c"/dev/full"),
    (c"random", c"/dev/random"),
    (c"urandom", c"/dev/urandom"),
    (c"tty", c"/dev/tty"),
];

const LINKS: [(&CStr, &CStr); 5] = [
    (c"ptmx", c"pts/ptmx"),
    (c"fd", c"/proc/self/fd"),
    (c"stdin", c"/proc/self/fd/0"),
    (c"stdout", c"/proc/self/fd/1"),
    (c"stderr", c"/proc/self/fd/2"),
];

/// Makes `/dev`, with `shm_fd` (a detached mount) as `/dev/shm`, and with at most `terminals` terminals at a time.
pub fn make(root_fd: BorrowedFd<'_>, shm_fd: BorrowedFd<'_>, terminals: u32) -> Result<(), BootError> {
    let dev_fd = directory(root_fd, c"dev").at(BootStep::MakeDev)?;
    for (name, source) in DEVICES {
        let step = || BootStep::ShowDevice(source.to_string_lossy().into_owned());
        let device_fd = clone_mount(AT_FDCWD, source, false).at(step())?;
        restrict_mount(device_fd.as_fd(), attr::NOSUID | attr::NOEXEC, false).at(step())?;
        openat(&dev_fd, name, file_flags(), Mode::from_bits_truncate(0o666)).at(step())?;
        let target_fd = open_path(dev_fd.as_fd(), name).at(step())?;
        attach_mount(&device_fd, &target_fd).at(step())?;
    }
    for (name, target) in LINKS {
        symlinkat(target, &dev_fd, name).at(BootStep::LinkDevices)?;
    }

    let pts_fd = directory(dev_fd.as_fd(), c"pts").at(BootStep::MakePts)?;
    let max =
        CString::new(terminals.to_string()).map_err(|_| BootError::of(BootStep::MountPts, Errno::EINVAL))?;
    // No gid: the host's group "tty" is not mapped, so the kernel would refuse it with EINVAL.
    let options = [
        (c"newinstance", c""),
        (c"mode", c"0620"),
        (c"ptmxmode", c"0666"),
        (c"max", &*max),
    ];
    let terminals_fd = new_mount(c"devpts", &options, attr::NOSUID | attr::NOEXEC).at(BootStep::MountPts)?;
    attach_mount(&terminals_fd, &pts_fd).at(BootStep::AttachPts)?;

    let target_fd = directory(dev_fd.as_fd(), c"shm").at(BootStep::MakeShm)?;
    attach_mount(shm_fd, &target_fd).at(BootStep::AttachShm)
}
