//! Makes a VM from an init that waits for its boot request.

use std::borrow::Cow;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use agent_vm_protocol::channel::{Channel, Frame};
use agent_vm_protocol::message::{Isolation, Request};

use super::boot_request::boot_request;
use super::cgroup::{CgroupMeters, VmCgroups};
use super::directories::Rootfs;
use super::disk::{Disk, DiskIds};
use super::enforcement::Enforcement;
use super::environment::environment;
use super::error::BootError;
use super::exchange::send;
use super::init_process::InitProcess;
use super::keeper::Keeper;
use super::launched::Launched;
use super::options::{Options, WantedIds};
use super::private_directory::PrivateDirectory;
use super::ready::Ready;
use super::user::GuestIds;
use super::users::{Ids, Users, default_person};
use super::view::View;
use super::vm_ids::VmIds;
use super::zygote::Program;
use super::{explain, layers, sys};

/// A booted VM.
#[derive(Debug)]
pub struct Machine {
    /// The control socket.
    pub channel: Channel,
    /// The VM's `/proc`.
    pub proc_fd: OwnedFd,
    /// The pids of the processes that work for init.
    pub helpers: Vec<u32>,
    /// The listening socket in the VM that the proxy serves, if the network is [`Network::Allow`].
    pub listener: Option<OwnedFd>,
    /// Its users.
    pub users: Users,
    /// The ids of the user that calls about files act as, if they are not the server's own.
    pub guest: Option<GuestIds>,
    /// The home of `user`.
    home: String,
    /// The directory that is its root, if the server chose one.
    rootfs: Option<Rootfs>,
    /// What enforces its limits.
    pub enforcement: Enforcement,
    /// What the host holds for it, to release when the VM has ended.
    pub host: HostSide,
}

impl Machine {
    /// Makes a launched init boot the VM. Returns when its sandbox is complete; no program has run in it yet.
    pub fn boot(launched: Launched, options: &Options) -> Result<Self, BootError> {
        Self::make(launched, options, false)
    }

    /// The same for a prebooted VM, which has no environment until [`adopt`](Self::adopt).
    pub fn preboot(launched: Launched, options: &Options) -> Result<Self, BootError> {
        Self::make(launched, options, true)
    }

    fn make(launched: Launched, options: &Options, prebooted: bool) -> Result<Self, BootError> {
        let guest_id = launched.ids.of_user();
        let options = &*settled(options, launched.ids.are_many());
        let mut fds = Vec::new();
        let mut view = View::of(options, guest_id, launched.ids.first_leased(), &mut fds)?;
        view.layers = layers::attach(options.layers.iter(), &launched.ids, launched.init.pid, &mut fds)?;
        let disk_ids = DiskIds {
            user: guest_id,
            first: launched.ids.first_leased(),
            are_many: launched.ids.are_many(),
        };
        let disk = match &options.disk {
            Some(disk) => Some(Disk::take(disk, options.rootfs.as_deref(), disk_ids)?),
            None => None,
        };
        if let Some(disk) = &disk {
            view.disk = Some(disk.for_init(disk_ids, &mut fds)?);
        }
        let users = Users::of(options, view.rootfs.as_ref(), &view.home)?;
        let (of_files, guest) = users.of_files(guest_id, launched.ids.first_leased());
        let guarded = std::mem::take(&mut view.guarded);
        let program = Program::of(options);
        let keeper = Keeper::start(&program, guarded, &mut view.root, launched.init.pidfd())?;
        // If a step fails, init ends before its directory and its disk are removed, and the placeholders of its mounts.
        let launched = launched;
        let request = boot_request(
            options,
            guest_id,
            of_files,
            &mut view,
            &launched.cgroups,
            prebooted,
            &mut fds,
        )?;
        send(&launched.channel, &request, fds)?;
        if let (Isolation::Landlock, Some(directory)) = (options.isolation, &view.directory) {
            // Done while init makes the rest.
            explain::write(&Path::new(directory.path()).join(explain::OWN), options)
                .map_err(BootError::PrivateDirectory)?;
        }
        let ready = Ready::await_from(&launched.channel, options)?;
        // Only now: once init has taken another id, the server may lack the right to signal it.
        if !sys::may_signal(launched.init.pidfd()) {
            return Err(BootError::NoKill);
        }
        let Launched {
            channel,
            init,
            cgroups,
            ids,
        } = launched;
        Ok(Self {
            channel,
            proc_fd: ready.proc_fd,
            helpers: ready.helpers,
            listener: ready.listener,
            home: view.home,
            rootfs: view.rootfs,
            enforcement: Enforcement::of(options, &cgroups, users.ids()),
            users,
            guest,
            host: HostSide {
                init,
                cgroups,
                _ids: ids,
                _disk: disk,
                _directory: view.directory,
                _keeper: keeper,
            },
        })
    }

    /// What its root was when it was made, if the server chose one.
    pub(super) fn rootfs(&self) -> Option<&Rootfs> {
        self.rootfs.as_ref()
    }

    /// Gives a prebooted VM the environment for `options`. Everything else is complete.
    pub fn adopt(&mut self, options: &Options) -> Result<(), BootError> {
        let options = &*settled(options, self.users.ids() == Some(Ids::Range));
        let rootfs = self.rootfs.as_ref();
        let person = default_person(options, rootfs, &self.home)?;
        let env = environment(options, rootfs, &person);
        self.users = Users::of(options, rootfs, &self.home)?;
        let frame = Frame::new(&Request::Adopt { env }, Vec::new())?;
        self.channel.send(&frame).map_err(BootError::Channel)
    }
}

/// The options with the ids that the VM has.
fn settled(options: &Options, range: bool) -> Cow<'_, Options> {
    match (options.ids, range) {
        (Some(WantedIds::Best), true) => Cow::Owned(Options {
            ids: Some(WantedIds::Range),
            ..options.clone()
        }),
        _ => Cow::Borrowed(options),
    }
}

/// What the host holds for a VM. Dropping it kills the VM and waits for its end, about 0.2 ms.
#[derive(Debug)]
pub struct HostSide {
    // Dropped in this order: first the processes, then what they held.
    pub(super) init: InitProcess,
    cgroups: VmCgroups,
    _ids: VmIds,
    _disk: Option<Disk>,
    _directory: Option<PrivateDirectory>,
    _keeper: Option<Keeper>,
}

impl HostSide {
    /// Init's pid on the host.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.init.pid
    }

    /// What counts for its cgroups.
    #[must_use]
    pub fn meters(&self) -> CgroupMeters {
        self.cgroups.meters()
    }

    /// Kills init and, with its pid namespace, everything inside.
    pub fn kill(&self) {
        self.init.kill();
    }

    /// A descriptor that becomes readable when init has ended.
    #[must_use]
    pub fn pidfd(&self) -> BorrowedFd<'_> {
        self.init.pidfd()
    }
}
