//! The VM's `/proc`: its own, with files about the host covered.
//!
//! The VM's user has no capability and an id that owns nothing of the host. So the files that `/proc` protects by owner
//! and mode (kcore, kmsg, kpage*, `timer_list`, sysrq-trigger, everything below sys, irq and bus) are closed to it
//! already. They are not covered, because each mount costs 10 to 20 µs of every boot. Only files that all users may
//! read are covered, and, where users are real, the settings that would be root's.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use agent_vm_mount::{attach_mount, attr, clone_mount, new_mount, restrict_mount};
use agent_vm_protocol::message::BootStep;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, openat};
use nix::sys::stat::Mode;
use nix::unistd::{read, write};

use super::error::{At, BootError};
use super::place::{directory, open_path};

/// Readable by all users, and about the host's other users, its hardware or its current state: the names of keys that
/// any user of the host holds, the names of devices and which processor serves their interrupts, the scheduler's state
/// of all tasks. The number of interrupts is also in `/proc/stat`, which cannot be covered because `top` and Node.js
/// read it.
const MASKED_FILES: [&CStr; 4] = [c"keys", c"key-users", c"interrupts", c"sched_debug"];

/// The same for directories.
const MASKED_DIRECTORIES: [&CStr; 3] = [c"acpi", c"scsi", c"asound"];

/// Mounts a new `/proc` in the root and covers the files about the host.
pub fn mount(root_fd: BorrowedFd<'_>) -> Result<OwnedFd, BootError> {
    let target_fd = directory(root_fd, c"proc").at(BootStep::MakeProc)?;
    let proc_fd =
        new_mount(c"proc", &[], attr::NOSUID | attr::NODEV | attr::NOEXEC).at(BootStep::MountProc)?;
    attach_mount(&proc_fd, &target_fd).at(BootStep::AttachProc)?;
    for name in MASKED_FILES {
        cover(proc_fd.as_fd(), name, || {
            let null_fd = clone_mount(AT_FDCWD, c"/dev/null", false)?;
            restrict_mount(null_fd.as_fd(), attr::NOSUID | attr::NOEXEC, false)?;
            Ok(null_fd)
        })?;
    }
    for name in MASKED_DIRECTORIES {
        cover(proc_fd.as_fd(), name, || {
            let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
            new_mount(c"tmpfs", &[(c"size", c"4k")], attributes)
        })?;
    }
    Ok(proc_fd)
}

/// Init's own instance of the same `/proc`, which is nowhere in the VM: the kernel has a lock for each directory of an
/// instance, and a program that lists the VM's can hold its lock for as long as it likes.
pub fn of_init() -> Result<OwnedFd, BootError> {
    let mount_fd =
        new_mount(c"proc", &[], attr::NOSUID | attr::NODEV | attr::NOEXEC).at(BootStep::MountProc)?;
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(&mount_fd, c".", flags, Mode::empty()).at(BootStep::OpenProc)
}

fn cover(
    proc_fd: BorrowedFd<'_>,
    name: &CStr,
    cover: impl FnOnce() -> Result<OwnedFd, Errno>,
) -> Result<(), BootError> {
    let step = || BootStep::CoverProc(name.to_string_lossy().into_owned());
    let target_fd = match open_path(proc_fd, name) {
        Ok(fd) => fd,
        // This kernel lacks the file.
        Err(Errno::ENOENT) => return Ok(()),
        Err(errno) => return Err(errno).at(step()),
    };
    let cover_fd = cover().at(step())?;
    attach_mount(&cover_fd, &target_fd).at(step())
}

/// Lets programs of the VM listen on every port of its network and send ICMP echo requests, as in a container: the
/// network is only the VM's, so its low ports need no protection.
///
/// With `users` of its own, all its groups may ping.
pub fn open_ports(proc_fd: BorrowedFd<'_>, users: bool) -> Result<(), BootError> {
    set(proc_fd, c"sys/net/ipv4/ip_unprivileged_port_start", 0).at(BootStep::AllowPorts)?;
    // The range of groups that may do so: only the VM's own (`icmp(7)`).
    let groups: &[u8] = if users { b"0 65535" } else { b"1000 1000" };
    set_text(proc_fd, c"sys/net/ipv4/ping_group_range", groups).at(BootStep::AllowPing)
}

/// Makes the kernel's settings read-only, once the VM has its own: a root with a range of ids is, for the kernel, the owner of
/// those that each IPC and pid namespace has. They bound what the kernel holds for all of the VM's users together, and how many
/// processes there can be, init's helpers among them.
pub fn protect_settings(proc_fd: BorrowedFd<'_>) -> Result<(), BootError> {
    cover(proc_fd, c"sys", || {
        let settings_fd = clone_mount(proc_fd, c"sys", false)?;
        let attributes = attr::RDONLY | attr::NOSUID | attr::NODEV | attr::NOEXEC;
        restrict_mount(settings_fd.as_fd(), attributes, false)?;
        Ok(settings_fd)
    })
}

/// Writes a number to a file of `/proc`.
pub fn set(proc_fd: BorrowedFd<'_>, file: &CStr, value: u64) -> Result<(), Errno> {
    set_text(proc_fd, file, value.to_string().as_bytes())
}

fn set_text(proc_fd: BorrowedFd<'_>, file: &CStr, text: &[u8]) -> Result<(), Errno> {
    let fd = openat(proc_fd, file, OFlag::O_WRONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    write(fd.as_fd(), text)?;
    Ok(())
}

/// Reads a number from a file of `/proc`.
pub fn get(proc_fd: BorrowedFd<'_>, file: &CStr) -> Result<u64, Errno> {
    let fd = openat(proc_fd, file, OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?;
    let mut text = [0; 24];
    let length = read(fd.as_fd(), &mut text)?;
    let text = str::from_utf8(&text[..length]).map_err(|_| Errno::EINVAL)?;
    text.trim().parse().map_err(|_| Errno::EINVAL)
}
