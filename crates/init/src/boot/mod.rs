//! From a bare process in new namespaces to PID 1 of a VM. One step a line; the order matters and is explained where it
//! does.
//!
//! Nothing untrusted runs before [`boot`] has returned, and whatever fails ends the VM: there is no half of a sandbox.

mod abstract_sockets;
mod cgroups;
mod devices;
mod identity;
mod proc;
mod root;
mod rootfs;
mod sys;

use std::borrow::Cow;
use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{Boot, Isolation, Network};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, access, chdir, sethostname, setsid};

use crate::control::Attachments;
use crate::family::{Cgrouping, memory};
use crate::sys::random;
use crate::walls::Walls;
use crate::{network, seccomp};

/// A step of the boot that the kernel refused.
#[derive(Debug, thiserror::Error)]
#[error("{step}: {errno}")]
pub struct BootError {
    /// The step, in words.
    pub step: Cow<'static, str>,
    /// The kernel's answer.
    pub errno: Errno,
    /// The path inside of the mount that it was about, if it was about one that was asked for.
    pub path: Option<String>,
}

impl BootError {
    /// `step` was refused with `errno`.
    pub fn of(step: &'static str, errno: Errno) -> Self {
        Self {
            step: step.into(),
            errno,
            path: None,
        }
    }

    /// `step` failed with `error`.
    pub fn new(step: &'static str, error: &std::io::Error) -> Self {
        Self::of(step, error.raw_os_error().map_or(Errno::EIO, Errno::from_raw))
    }
}

/// Names the step that a system call belongs to.
trait At<T> {
    fn at(self, step: impl Into<Cow<'static, str>>) -> Result<T, BootError>;
}

impl<T> At<T> for Result<T, Errno> {
    fn at(self, step: impl Into<Cow<'static, str>>) -> Result<T, BootError> {
        self.map_err(|errno| BootError {
            step: step.into(),
            errno,
            path: None,
        })
    }
}

/// What booting leaves behind.
#[derive(Debug)]
#[allow(clippy::struct_field_names, reason = "descriptors are named so")]
pub struct Booted {
    /// The VM's `/proc`.
    pub proc_fd: OwnedFd,
    /// The socket that the host serves, if the VM is to have one.
    pub listener_fd: Option<OwnedFd>,
    /// What families live in.
    pub cgrouping: Cgrouping,
    /// What the deputy and all programs are to go behind, where there are no namespaces.
    pub walls: Option<Walls>,
}

/// Does what the isolation asks for.
pub fn boot(boot: &Boot, attachments: &mut Attachments) -> Result<Booted, BootError> {
    // Away from the terminal and the process group of the server: its Ctrl-C is not for the VM.
    match setsid() {
        // Already a leader, which is as good.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).at("start a session"),
    }
    for &index in &boot.cgroups.joins {
        let tasks_fd = attachments
            .take(index)
            .ok_or(Errno::EBADF)
            .at("take a cgroup's tasks")?;
        memory::join(tasks_fd).at("join a cgroup")?;
    }
    let (mut listener_fd, mut walls) = (None, None);
    // While the host's mounts are still around.
    let cgrouping = cgroups::take(boot, attachments)?;
    match boot.isolation {
        Isolation::Namespaces => listener_fd = namespaces(boot, attachments, &cgrouping)?,
        Isolation::Landlock => walls = Some(landlock(boot)?),
        Isolation::None => unconfined()?,
    }
    let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    let proc_fd = open("/proc", flags, Mode::empty()).at("open /proc")?;
    Ok(Booted {
        proc_fd,
        listener_fd,
        cgrouping,
        walls,
    })
}

/// Makes the sandbox; returns the socket for the host to serve, if there is to be one.
fn namespaces(
    boot: &Boot,
    attachments: &mut Attachments,
    cgrouping: &Cgrouping,
) -> Result<Option<OwnedFd>, BootError> {
    identity::take(boot.take_id)?;
    identity::raise_open_files()?;

    umask(Mode::empty());
    let root = root::build(boot, attachments, cgrouping)?;
    // Before the pivot: the kernel lets a user namespace mount /proc only where it still sees the host's whole one.
    let proc_fd = proc::mount(root.fd.as_fd())?;
    root::enter(&root)?;
    cgroups::check(cgrouping)?;
    drop(root);
    umask(Mode::S_IWGRP | Mode::S_IWOTH);

    sethostname(&boot.hostname).at("set the host name")?;
    let listener_fd = match boot.network {
        Network::Own => {
            loopback_up()?;
            None
        }
        Network::Served { port } => {
            loopback_up()?;
            Some(network::listen_on(port).at("listen on the loopback interface")?)
        }
        Network::Host => None,
    };
    if boot.network != Network::Host {
        proc::open_ports(proc_fd.as_fd())?;
    }
    let shared = boot.take_id.is_none();
    identity::limit_namespace(proc_fd.as_fd(), shared)?;
    identity::limit(&boot.limits, shared)?;

    // Last, for each of these takes something away that the steps above need.
    identity::renounce()?;
    // Nothing inside may trace init, read its memory or follow its descriptors. After the capabilities, whose change
    // sets this anew.
    prctl::set_dumpable(false).at("hide init from tracing")?;
    if boot.network == Network::Host {
        abstract_sockets::fence()?;
    }
    confine()?;
    Ok(listener_fd)
}

fn landlock(boot: &Boot) -> Result<Walls, BootError> {
    identity::raise_open_files()?;
    prctl::set_child_subreaper(true).at("become a subreaper")?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    // Not where the server happens to stand.
    chdir("/").at("change to /")?;

    let wish = boot
        .walls
        .as_ref()
        .ok_or(Errno::EINVAL)
        .at("learn what the VM may read")?;
    // While root may still search every folder.
    let walls = Walls::build(wish).map_err(|error| BootError::of(error.step, error.errno))?;
    identity::step_down(boot.take_id)?;
    access(
        wish.folder.as_str(),
        AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
    )
    .at("reach the folder for the VM's files as the VM's user")?;
    identity::limit(&boot.limits, boot.take_id.is_none())?;

    prctl::set_dumpable(false).at("hide init from tracing")?;
    confine()?;
    Ok(walls)
}

fn confine() -> Result<(), BootError> {
    let key = random().at("draw a random number")?;
    seccomp::confine(key).map_err(|error| BootError::new("install the system call filter", &error))
}

fn unconfined() -> Result<(), BootError> {
    identity::raise_open_files()?;
    // Orphans come to init, as they do to the first process of a pid namespace, so that all of the VM descends from it.
    prctl::set_child_subreaper(true).at("become a subreaper")?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    Ok(())
}

fn loopback_up() -> Result<(), BootError> {
    let socket = socket(
        AddressFamily::Inet,
        SockType::Datagram,
        SockFlag::SOCK_CLOEXEC,
        None,
    )
    .at("make a socket for the loopback interface")?;
    sys::loopback_up(socket.as_fd()).at("bring the loopback interface up")
}
