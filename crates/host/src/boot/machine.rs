//! From an init that waits to a VM that stands.

use std::os::fd::{BorrowedFd, OwnedFd};
use std::path::Path;

use agent_vm_protocol::channel::{Channel, Frame};
use agent_vm_protocol::message::{
    Boot, Cgroups, Isolation, MemoryCount, Network as InitNetwork, Reply, Request, ShownCgroup,
};

use super::cgroup::{CgroupDirectory, Version, VmCgroups};
use super::enforcement::Enforcement;
use super::error::BootError;
use super::exchange::{await_reply, no_room, send, unasked};
use super::ids::IdLease;
use super::init_process::InitProcess;
use super::landlock::LandlockError;
use super::launched::Launched;
use super::options::{Network, Options};
use super::private_directory::PrivateDirectory;
use super::user::USER_ID;
use super::view::View;
use super::zygote::Program;
use super::{directories, explain, hardware, root, sys};
use crate::proxy;

/// A booted VM.
#[derive(Debug)]
pub struct Machine {
    /// The control socket.
    pub channel: Channel,
    /// The VM's `/proc`.
    pub proc_fd: OwnedFd,
    /// The pid of init's deputy, if it has one.
    pub deputy: Option<u32>,
    /// The socket inside that the proxy is to serve, where the network is [`Network::Allow`].
    pub listener: Option<OwnedFd>,
    /// Where its processes live.
    pub home: String,
    /// What holds its limits.
    pub enforcement: Enforcement,
    /// What to give back when all of them are gone.
    pub host: HostSide,
}

impl Machine {
    /// Has a launched init set the VM up. Returns when its sandbox stands and nothing has run in it yet.
    pub fn boot(launched: Launched, options: &Options) -> Result<Self, BootError> {
        Self::set_up(launched, options, false)
    }

    /// The same for a prebooted VM: it has no environment until [`adopt`](Self::adopt).
    pub fn preboot(launched: Launched, options: &Options) -> Result<Self, BootError> {
        Self::set_up(launched, options, true)
    }

    fn set_up(launched: Launched, options: &Options, prebooted: bool) -> Result<Self, BootError> {
        let id = launched.id.as_ref().map(|lease| lease.id);
        let mut fds = Vec::new();
        let view = View::of(options, id, &mut fds)?;
        let hardware = match options.isolation {
            Isolation::Namespaces => Some(hardware::take(&Program::of(options), &mut fds)?),
            Isolation::Landlock | Isolation::None => None,
        };
        let cgroups_for_init = attach(&launched.cgroups, &mut fds)?;
        let request = Request::Boot(Box::new(Boot {
            isolation: options.isolation,
            hostname: options.hostname.clone(),
            network: match options.network {
                Network::None => InitNetwork::Own,
                Network::Allow(_) => InitNetwork::Served { port: proxy::PORT },
                Network::Host => InitNetwork::Host,
            },
            take_id: match options.isolation {
                Isolation::Namespaces => id.map(|_| USER_ID),
                Isolation::Landlock | Isolation::None => id,
            },
            env: (!prebooted).then(|| root::environment(options, view.rootfs.as_ref(), &view.home)),
            rootfs: view.rootfs.map(|rootfs| rootfs.source),
            landlock: view.landlock,
            hardware,
            root: view.root,
            limits: options.limits.clone(),
            cgroups: cgroups_for_init,
        }));
        send(&launched.channel, &request, fds)?;
        if let (Isolation::Landlock, Some(directory)) = (options.isolation, &view.directory) {
            // While init sets up the rest.
            explain::write(&Path::new(directory.path()).join(explain::OWN), options)
                .map_err(BootError::PrivateDirectory)?;
        }
        let served = matches!(options.network, Network::Allow(_));
        let Ready {
            proc_fd,
            listener,
            deputy,
        } = await_ready(&launched.channel, served).map_err(|error| match error {
            BootError::SetUp { step, errno } if options.isolation == Isolation::Landlock => {
                LandlockError::SetUp { step, errno }.into()
            }
            other => other,
        })?;
        // Once it has an id of its own, it takes a right to end it.
        if !sys::may_signal(launched.init.pidfd()) {
            return Err(BootError::NoKill);
        }
        let Launched {
            channel,
            init,
            cgroups,
            id,
        } = launched;
        Ok(Self {
            channel,
            proc_fd,
            deputy,
            listener,
            home: view.home,
            enforcement: Enforcement::of(options.isolation, &cgroups),
            host: HostSide {
                init,
                _cgroups: cgroups,
                id,
                _directory: view.directory,
            },
        })
    }

    /// Gives a prebooted VM the environment that `options` asks for. It has everything else already.
    pub fn adopt(&self, options: &Options) -> Result<(), BootError> {
        let env = root::environment(options, None, &self.home);
        let frame = Frame::new(&Request::Adopt { env }, Vec::new())?;
        self.channel.send(&frame).map_err(BootError::Channel)
    }
}

/// What the host holds for a VM. Dropping it kills the VM and waits for its end, about 0.2 ms.
#[derive(Debug)]
pub struct HostSide {
    // In this order they are dropped: first the processes go, then what they held.
    pub(super) init: InitProcess,
    _cgroups: VmCgroups,
    id: Option<IdLease>,
    _directory: Option<PrivateDirectory>,
}

impl HostSide {
    /// Init's pid on the host.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.init.pid
    }

    /// The id that is the VM's user's on the host, where it is not the server's own.
    #[must_use]
    pub fn guest_id(&self) -> Option<u32> {
        self.id.as_ref().map(|lease| lease.id)
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

/// Attaches what init needs of the VM's cgroups.
fn attach(cgroups: &VmCgroups, fds: &mut Vec<OwnedFd>) -> Result<Cgroups, BootError> {
    let mut share = |directory: Option<CgroupDirectory<'_>>| {
        directory
            .map(|directory| directories::confined(directory.path, directory.fd, fds))
            .transpose()
            .map_err(BootError::Channel)
    };
    let families = share(cgroups.families())?;
    let memory = match share(cgroups.memory())? {
        Some(directory) => Some(MemoryCount::Directory(directory)),
        None => (cgroups.memory_by == Some(Version::Two)).then_some(MemoryCount::InFamilies),
    };
    let shown = cgroups.shown().into_iter().map(|(path, directory)| {
        Ok(ShownCgroup {
            path: path.to_owned(),
            source: directories::confined(directory.path, directory.fd, fds).map_err(BootError::Channel)?,
        })
    });
    Ok(Cgroups {
        families,
        memory,
        shown: shown.collect::<Result<_, BootError>>()?,
        family_settings: cgroups.family_settings(),
        memory_settings: cgroups.memory_settings(),
    })
}

/// What init hands over when it is ready.
struct Ready {
    /// The VM's `/proc`.
    proc_fd: OwnedFd,
    /// The socket to serve, if the VM has one.
    listener: Option<OwnedFd>,
    /// The pid of init's deputy, if it has one.
    deputy: Option<u32>,
}

/// Waits for init to have made the sandbox.
fn await_ready(channel: &Channel, served: bool) -> Result<Ready, BootError> {
    let (Reply::Ready { deputy }, fds) = await_reply(channel)? else {
        return Err(unasked());
    };
    let mut fds = fds.into_iter();
    let proc_fd = fds.next().ok_or_else(no_room)?;
    let listener = match (fds.next(), served) {
        (Some(_), false) => return Err(unasked()),
        (None, true) => return Err(no_room()),
        (listener, _) => listener,
    };
    Ok(Ready {
        proc_fd,
        listener,
        deputy,
    })
}
