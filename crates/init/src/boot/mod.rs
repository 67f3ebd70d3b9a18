//! Turns a process in new namespaces into PID 1 of a VM, one step in each line. The order matters; comments explain it
//! where it does.
//!
//! Nothing untrusted runs before [`boot`] has returned, and any failure ends the VM, so that there is never an
//! incomplete sandbox.

mod abstract_sockets;
mod cgroups;
mod devices;
mod entry;
mod error;
pub mod hardware;
mod hold;
pub mod identity;
mod inner;
mod place;
mod private;
mod proc;
mod protect;
mod root;
mod rootfs;
mod sys;

use std::os::fd::{AsFd, OwnedFd};

use agent_vm_protocol::message::{Boot, BootStep, InnerIds, Isolation, Network};
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::prctl;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{AccessFlags, access, chdir, sethostname, setsid};

use identity::{ROOT, USER};

pub use error::{At, BootError};
pub use hold::HeldFiles;
pub use private::{OwnLayer, PARTS};

use crate::control::Attachments;
use crate::family::Cgrouping;
use crate::landlock_domain::LandlockDomain;
use crate::mediate::OwnMounts;
use crate::seccomp::SetIds;
use crate::sys::random;
use crate::{network, seccomp};

/// The result of a boot.
#[derive(Debug)]
#[allow(clippy::struct_field_names, reason = "descriptors are named so")]
pub struct Booted {
    /// A `/proc` that shows the VM.
    pub proc_fd: OwnedFd,
    /// The listening socket for the host, if the VM has one.
    pub listener_fd: Option<OwnedFd>,
    /// How the kernel asks init about modes of files, if init's own filter does that.
    pub asks: Option<Asks>,
    /// A directory of the file system that all private directories share, if the VM has one.
    pub private_fd: Option<OwnedFd>,
    /// That file system as a layer for other VMs, if the kernel can do that.
    pub layer: Option<OwnLayer>,
    /// The lock of the VM's disk, if it has one.
    pub disk_lock_fd: Option<OwnedFd>,
    /// How families get their cgroups.
    pub cgrouping: Cgrouping,
    /// The domain for the deputy and all programs, if there are no namespaces.
    pub domain: Option<LandlockDomain>,
    /// The user namespace in which programs are root, if the VM has one.
    pub inner_fd: Option<OwnedFd>,
}

/// For a VM whose own filter asks init.
#[derive(Debug)]
pub struct Asks {
    /// The descriptor on which the kernel asks.
    pub listener_fd: OwnedFd,
    /// The mounts by which init decides.
    pub own_mounts: OwnMounts,
}

/// A VM with a root of its own.
struct Sandbox {
    /// An instance of its `/proc` that is only init's.
    proc_fd: OwnedFd,
    listener_fd: Option<OwnedFd>,
    asks: Option<Asks>,
    private_fd: OwnedFd,
    layer: Option<OwnLayer>,
    inner_fd: Option<OwnedFd>,
}

/// Makes the VM, as its isolation level requires.
pub fn boot(boot: &Boot, attachments: &mut Attachments) -> Result<Booted, BootError> {
    // Leaves the terminal and the process group of the server, so that its Ctrl-C does not reach the VM.
    match setsid() {
        // The process is a leader already, which is fine.
        Ok(_) | Err(Errno::EPERM) => {}
        Err(errno) => return Err(errno).at(BootStep::StartSession),
    }
    let (mut own_proc_fd, mut private_fd, mut layer) = (None, None, None);
    let (mut listener_fd, mut asks, mut domain, mut inner_fd) = (None, None, None, None);
    let disk_lock_fd = match &boot.disk {
        Some(disk) => {
            let lock_fd = attachments.take(disk.lock).ok_or(Errno::EBADF);
            Some(lock_fd.at(BootStep::OpenDisk)?)
        }
        None => None,
    };
    // While the host's mounts still exist.
    let cgrouping = cgroups::take(boot, attachments)?;
    match boot.isolation {
        Isolation::Namespaces => {
            let sandbox = namespaces(boot, attachments, &cgrouping)?;
            own_proc_fd = Some(sandbox.proc_fd);
            private_fd = Some(sandbox.private_fd).filter(|_| boot.disk.is_none());
            (listener_fd, asks, layer) = (sandbox.listener_fd, sandbox.asks, sandbox.layer);
            inner_fd = sandbox.inner_fd;
        }
        Isolation::Landlock => domain = Some(landlock(boot)?),
        Isolation::None => unconfined()?,
    }
    let proc_fd = if let Some(fd) = own_proc_fd {
        fd
    } else {
        let flags = OFlag::O_DIRECTORY | OFlag::O_RDONLY | OFlag::O_CLOEXEC;
        open("/proc", flags, Mode::empty()).at(BootStep::OpenProc)?
    };
    Ok(Booted {
        proc_fd,
        listener_fd,
        asks,
        private_fd,
        layer,
        disk_lock_fd,
        cgrouping,
        domain,
        inner_fd,
    })
}

/// Makes the sandbox.
fn namespaces(
    boot: &Boot,
    attachments: &mut Attachments,
    cgrouping: &Cgrouping,
) -> Result<Sandbox, BootError> {
    let has_users = boot.inner_ids == Some(InnerIds::Range);
    identity::take(boot.take_id)?;
    identity::raise_open_files()?;

    umask(Mode::empty());
    if has_users {
        // The system's files are root's.
        identity::use_files_as(ROOT)?;
    }
    let mut root = root::build(boot, attachments, cgrouping)?;
    let own_mounts = std::mem::take(&mut root.own_mounts);
    // Before the pivot: the kernel lets a user namespace mount /proc only while it sees the host's whole /proc.
    let proc_fd = proc::mount(root.fd.as_fd())?;
    let own_proc_fd = proc::of_init()?;
    if let Some(shown) = boot.hardware {
        hardware::show(&root.fd, shown, attachments)?;
        cgroups::show(root.fd.as_fd(), &boot.cgroups.shown, attachments)?;
    }
    root::enter(&root)?;
    if has_users {
        identity::use_files_as((USER, USER))?;
        identity::leave_groups()?;
    }
    protect::refuse_other_ways(&root.protected, own_proc_fd.as_fd())?;
    cgroups::check(cgrouping)?;
    let (private_fd, layer) = (root.private_fd, root.layer);
    drop(root.fd);
    umask(Mode::S_IWGRP | Mode::S_IWOTH);

    sethostname(&boot.hostname).at(BootStep::SetHostName)?;
    let listener_fd = match boot.network {
        Network::Own => {
            loopback_up()?;
            None
        }
        Network::Served { port } => {
            loopback_up()?;
            Some(network::listen_on(port).at(BootStep::ListenOnLoopback)?)
        }
        Network::Host => None,
    };
    if boot.network != Network::Host {
        proc::open_ports(proc_fd.as_fd(), has_users)?;
    }
    let shared = boot.take_id.is_none();
    identity::limit(&boot.limits, shared)?;
    // After the limits, which it takes over for all that runs in it together, and before no more of them can be made.
    let inner_fd = match boot.inner_ids {
        Some(ids) => Some(inner::make(own_proc_fd.as_fd(), ids)?),
        None => None,
    };
    identity::limit_namespace(proc_fd.as_fd(), shared)?;
    if has_users {
        proc::protect_settings(proc_fd.as_fd())?;
    }

    // If a descriptor of a host file can get in, a file is not always the VM's own.
    let set_ids = if root::shows_host(boot) || boot.network == Network::Host {
        SetIds::Asked
    } else {
        SetIds::Free
    };
    if has_users {
        let asks = with_users(boot.network, set_ids, own_mounts)?;
        return Ok(Sandbox {
            proc_fd: own_proc_fd,
            listener_fd,
            asks,
            private_fd,
            layer,
            inner_fd,
        });
    }
    // Last, because each of these removes something that the steps above need.
    identity::renounce()?;
    prctl::set_no_new_privs().at(BootStep::SetNoNewPrivs)?;
    // Nothing in the VM may trace init, read its memory or follow its descriptors. After the change of capabilities,
    // which resets this.
    prctl::set_dumpable(false).at(BootStep::HideInit)?;
    if boot.network == Network::Host {
        abstract_sockets::fence(true)?;
    }
    let asks = confine(set_ids, inner_fd.is_some())?.map(|listener_fd| Asks {
        listener_fd,
        own_mounts,
    });
    Ok(Sandbox {
        proc_fd: own_proc_fd,
        listener_fd,
        asks,
        private_fd,
        layer,
        inner_fd,
    })
}

/// The last steps for a VM whose users are real. There set-user-id programs work, so init may not set `no_new_privs`, and
/// installs the filter, and the domain for a shared network, while it may do so without.
fn with_users(network: Network, set_ids: SetIds, own_mounts: OwnMounts) -> Result<Option<Asks>, BootError> {
    if network == Network::Host {
        abstract_sockets::fence(false)?;
    }
    let asks = confine(set_ids, true)?.map(|listener_fd| Asks {
        listener_fd,
        own_mounts,
    });
    identity::renounce()?;
    prctl::set_dumpable(false).at(BootStep::HideInit)?;
    Ok(asks)
}

fn landlock(boot: &Boot) -> Result<LandlockDomain, BootError> {
    identity::raise_open_files()?;
    prctl::set_child_subreaper(true).at(BootStep::BecomeSubreaper)?;
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    // Not the server's working directory.
    chdir("/").at(BootStep::ChangeToSlash)?;

    let wish = boot
        .landlock
        .as_ref()
        .ok_or(Errno::EINVAL)
        .at(BootStep::LearnReadable)?;
    // While root may still search every directory.
    let domain = LandlockDomain::build(wish).map_err(|error| BootError::of(error.step, error.errno))?;
    identity::step_down(boot.take_id)?;
    access(
        wish.directory.as_str(),
        AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK,
    )
    .at(BootStep::ReachFiles)?;
    identity::limit(&boot.limits, boot.take_id.is_none())?;

    prctl::set_dumpable(false).at(BootStep::HideInit)?;
    confine(SetIds::AskedElsewhere, false)?;
    Ok(domain)
}

/// Returns the descriptor on which the kernel asks init, if it does. `enters`: whether programs start in the inner user
/// namespace.
fn confine(set_ids: SetIds, enters: bool) -> Result<Option<OwnedFd>, BootError> {
    let key = random().at(BootStep::DrawRandom)?;
    seccomp::confine(key, set_ids, enters).map_err(|error| BootError::new(BootStep::InstallFilter, &error))
}

fn unconfined() -> Result<(), BootError> {
    identity::raise_open_files()?;
    // Makes init the parent of orphans, as the first process of a pid namespace is, so that the whole VM descends from
    // it.
    prctl::set_child_subreaper(true).at(BootStep::BecomeSubreaper)?;
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
    .at(BootStep::MakeLoopbackSocket)?;
    sys::loopback_up(socket.as_fd()).at(BootStep::RaiseLoopback)
}
