//! Making a VM: its namespaces, ids and cgroup, and init in them.
//!
//! [`boot`] takes about a millisecond, all of it on the calling thread, which must not be one that others wait for. What
//! it returns owns the VM: dropping it kills everything inside and gives back what the host lent.

mod cgroup;
mod directories;
mod enforcement;
mod ids;
mod image;
mod landlock;
mod launched;
mod node;
mod private_folder;
mod root;
mod spare;
mod sys;

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::time::{Duration, Instant};

use agent_vm_protocol::channel::{Channel, Frame, FrameError, ReceiveError};
use agent_vm_protocol::message::{
    self, Attached, Boot, Cgroups, Limits, MemoryCount, Network as InitNetwork, Reply, Request, RootEntry,
};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd::Uid;

use crate::error::Error;
use crate::proxy::{self, Rule};
use cgroup::{CgroupError, VmCgroups};
use directories::{DirectoryError, Rootfs};
use ids::IdLease;
use launched::{InitProcess, Launched, Specification};
use private_folder::PrivateFolder;
use sys::LaunchFailure;

pub use cgroup::{Controller, Unavailable, Version, names_commands, serves};
pub use directories::Mount;
pub use enforcement::{Enforcement, Mechanism};
pub use landlock::{LandlockError, check as check_landlock};
pub use message::Isolation;
pub use node::ServerNode;

/// The VM user's uid and gid inside.
pub const USER_ID: u32 = 1000;

/// The VM user's home inside, in a VM with a root of its own.
pub const HOME: &str = "/home/user";

/// How long init may take to set up. A thousand times what it takes on an idle machine.
const BOOT_DEADLINE: Duration = Duration::from_secs(30);

/// Those of every VM that is walled off by them; its own network comes on top.
const NAMESPACES: libc::c_int =
    libc::CLONE_NEWUSER | libc::CLONE_NEWPID | libc::CLONE_NEWNS | libc::CLONE_NEWUTS | libc::CLONE_NEWIPC;

/// What a VM can reach.
#[derive(Debug, Clone)]
pub enum Network {
    /// Its own loopback.
    None,
    /// Its own loopback, and these destinations through a proxy on it.
    Allow(Vec<Rule>),
    /// The host's network, all of it.
    Host,
}

/// How a VM is to be made.
#[derive(Debug, Clone)]
pub struct Options {
    /// The init program's file.
    pub init: PathBuf,
    /// The server's own Node.js, shown first on the PATH.
    pub node: Option<ServerNode>,
    /// How far to wall it off.
    pub isolation: Isolation,
    /// The host name inside.
    pub hostname: String,
    /// The host's directory that is the root; none for the host's own programs.
    pub rootfs: Option<PathBuf>,
    /// The host's directory that is the VM user's home; none for a private one.
    pub home: Option<PathBuf>,
    /// What else of the host is shown.
    pub mounts: Vec<Mount>,
    /// Commands of what is shown, on the PATH: names, and paths inside.
    pub bins: Vec<(String, String)>,
    /// What it can reach.
    pub network: Network,
    /// Added to the environment of every process.
    pub env: Vec<(String, String)>,
    /// Bounds inside.
    pub limits: Limits,
    /// Bounds that a cgroup holds, all of the VM together.
    pub resources: Resources,
    /// The level of init's log on standard error, if any.
    pub log: Option<String>,
}

/// What a VM may take of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Bytes of memory, private files and the kernel's own for them included.
    pub memory_bytes: Option<u64>,
    /// Cores' worth of time.
    pub cpus: Option<f64>,
}

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
    /// What is to be given back when all of them are gone.
    pub host: HostSide,
}

/// What the host holds for a VM. Dropping it kills the VM and waits for its end, about 0.2 ms.
#[derive(Debug)]
pub struct HostSide {
    // In this order they are dropped: first the processes go, then what they held.
    init: InitProcess,
    _cgroups: VmCgroups,
    _id: Option<IdLease>,
    _folder: Option<PrivateFolder>,
}

impl HostSide {
    /// Init's pid on the host.
    #[must_use]
    pub fn pid(&self) -> i32 {
        self.init.pid
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

/// Why no VM was made.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BootError {
    /// The init program cannot be read.
    #[error("{} cannot be read", path.display())]
    Image {
        /// Where it should be.
        path: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// The control socket.
    #[error("no control socket")]
    Channel(#[source] io::Error),
    /// The control socket, later.
    #[error("the boot message was not sent")]
    Frame(#[from] FrameError),
    /// A network that only a namespace of its own can give.
    #[error(
        "network with an allow list needs a network namespace of the VM's own, which isolation \"namespaces\" alone gives"
    )]
    NoNetworkNamespace,
    /// Root without ids to give.
    #[error("this process is root, and its user namespace has no id that is nobody's")]
    NoIds,
    /// The VM's cgroups.
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
    /// Looking for ids.
    #[error("no id for the VM's user")]
    Ids(#[source] io::Error),
    /// Init did not start.
    #[error("the kernel refused to {}", .0.step)]
    Launch(LaunchError),
    /// Writing the id maps.
    #[error("the kernel refused the VM's ids")]
    Maps(#[source] io::Error),
    /// A folder for a VM without a root.
    #[error("no folder for the VM's files")]
    Folder(#[source] io::Error),
    /// The kernel has no Landlock, or too little of it.
    #[error(transparent)]
    Landlock(#[from] LandlockError),
    /// A directory of the host's.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// Init could not mount one of those.
    #[error("{path} cannot be mounted on")]
    Mount {
        /// Where it should be, inside.
        path: String,
        /// What the kernel answered.
        errno: i32,
    },
    /// Init could not make the sandbox.
    #[error("init could not {step}")]
    SetUp {
        /// The step.
        step: String,
        /// What the kernel answered.
        errno: i32,
    },
    /// Init went away or said something else.
    #[error("init died while it set the VM up")]
    Died(#[source] Option<ReceiveError>),
    /// Init did not finish.
    #[error("init did not finish within {} s", BOOT_DEADLINE.as_secs())]
    Deadline,
}

/// The step that failed before init ran.
#[derive(Debug)]
pub struct LaunchError {
    step: &'static str,
    errno: i32,
}

impl From<LaunchFailure> for BootError {
    fn from(failure: LaunchFailure) -> Self {
        Self::Launch(LaunchError {
            step: failure.step,
            errno: failure.errno,
        })
    }
}

impl BootError {
    /// As users see it.
    pub(crate) fn into_public(self) -> Error {
        let cause = self.to_string();
        match &self {
            Self::Channel(source) | Self::Ids(source) | Self::Folder(source) => Error::system(source, "boot"),
            Self::Image { source, path } => Error::System {
                errno: source.raw_os_error().unwrap_or(libc::EIO),
                syscall: "open".into(),
                path: Some(path.display().to_string()),
            },
            Self::Directory(error) => error.to_public(),
            Self::Landlock(error) => Error::IsolationUnavailable { cause, remedy: error.remedy() },
            Self::Mount { path, errno } => Error::System {
                errno: *errno,
                syscall: "mount".into(),
                path: Some(path.clone()),
            },
            // The server has run out of something; the host can isolate.
            Self::Launch(LaunchError { errno, .. }) | Self::SetUp { errno, .. } if is_shortage(Some(*errno)) => {
                Error::System { errno: *errno, syscall: "clone".into(), path: None }
            }
            Self::Launch(LaunchError { errno, .. }) | Self::SetUp { errno, .. } => {
                let name = nix::errno::Errno::from_raw(*errno);
                Error::IsolationUnavailable { cause: format!("{cause}: {name}"), remedy: crate::doctor::remedy(*errno) }
            }
            Self::Cgroup(CgroupError::Unavailable(unavailable)) => Error::IsolationUnavailable {
                cause,
                remedy: unavailable.remedy(),
            },
            Self::Cgroup(CgroupError::Step { source, .. }) if is_shortage(source.raw_os_error()) => {
                Error::system(source, "open")
            }
            Self::Cgroup(CgroupError::Step { source, .. }) => Error::IsolationUnavailable {
                cause: format!("{cause}: {source}"),
                remedy: "AgentVm.doctor() tells what cgroups this host has".into(),
            },
            Self::Maps(source) => Error::IsolationUnavailable {
                cause: format!("{cause}: {source}"),
                remedy: crate::doctor::remedy(libc::EPERM),
            },
            Self::NoNetworkNamespace => Error::IsolationUnavailable {
                cause,
                remedy: "Choose that isolation, or another network".into(),
            },
            Self::NoIds => Error::IsolationUnavailable {
                cause,
                remedy: "Map more ids into the container (at least one beside root's), or run the server as an ordinary \
                         user"
                    .into(),
            },
            Self::Frame(_) | Self::Died(_) | Self::Deadline => {
                let detail = std::error::Error::source(&self).map(|source| format!(": {source}")).unwrap_or_default();
                Error::IsolationUnavailable {
                    cause: format!("{cause}{detail}"),
                    remedy: "Set AGENT_VM_LOG=debug to see how far init came".into(),
                }
            }
        }
    }
}

/// Whether the kernel's answer is that the server has run out of something, which may pass.
fn is_shortage(errno: Option<i32>) -> bool {
    matches!(
        errno,
        Some(libc::EMFILE | libc::ENFILE | libc::ENOMEM | libc::EAGAIN)
    )
}

impl Options {
    fn specification(&self) -> Specification {
        let namespaces = match (self.isolation, &self.network) {
            (Isolation::Landlock | Isolation::None, _) => 0,
            (Isolation::Namespaces, Network::Host) => NAMESPACES,
            (Isolation::Namespaces, Network::None | Network::Allow(_)) => NAMESPACES | libc::CLONE_NEWNET,
        };
        Specification::new(
            self.init.clone(),
            namespaces,
            self.isolation != Isolation::None,
            self.resources.clone(),
            self.log.clone(),
        )
    }
}

/// What a VM sees of files.
struct View {
    rootfs: Option<Rootfs>,
    root: Vec<RootEntry>,
    walls: Option<message::Walls>,
    folder: Option<PrivateFolder>,
    home: String,
}

impl View {
    /// What `options` asks for; the descriptors that it names are added to `fds`. `id` is the host id of the VM's user where
    /// that is not the server's own.
    fn of(options: &Options, id: Option<u32>, fds: &mut Vec<OwnedFd>) -> Result<Self, BootError> {
        let mut view = Self {
            rootfs: None,
            root: Vec::new(),
            walls: None,
            folder: None,
            home: HOME.to_owned(),
        };
        match (options.isolation, &options.home) {
            (Isolation::Namespaces, _) => {
                if let Some(path) = &options.rootfs {
                    view.rootfs = Some(Rootfs::open(path, id, fds)?);
                }
                let node = match &options.node {
                    Some(node) if view.rootfs.is_none() => node.entries(id, fds)?,
                    _ => Vec::new(),
                };
                let shown = directories::entries(options, id, fds)?;
                view.root = root::entries(options, view.rootfs.as_ref(), node, shown);
            }
            (Isolation::Landlock, _) => {
                let folder = PrivateFolder::make(&["home", "tmp"], id).map_err(BootError::Folder)?;
                view.walls = Some(message::Walls {
                    folder: folder.path().to_owned(),
                    readable: root::readable(options),
                });
                view.home = format!("{}/home", folder.path());
                view.folder = Some(folder);
            }
            (Isolation::None, Some(home)) => {
                directories::check_home(home)?;
                view.home = home.display().to_string();
            }
            (Isolation::None, None) => {
                let folder = PrivateFolder::make(&[], id).map_err(BootError::Folder)?;
                folder.path().clone_into(&mut view.home);
                view.folder = Some(folder);
            }
        }
        Ok(view)
    }
}

/// Makes a VM. Returns when its sandbox stands and nothing has run in it yet.
pub fn boot(options: &Options) -> Result<Machine, BootError> {
    let namespaces = options.isolation == Isolation::Namespaces;
    if !namespaces && matches!(options.network, Network::Allow(_)) {
        return Err(BootError::NoNetworkNamespace);
    }
    if options.isolation == Isolation::Landlock {
        landlock::check()?;
    }
    let specification = options.specification();
    let launched = match spare::take(&specification) {
        Some(launched) => launched,
        None => Launched::start(&specification)?,
    };
    let mut fds = Vec::new();
    let view = View::of(options, launched.id.as_ref().map(|lease| lease.id), &mut fds)?;
    let cgroups_for_init = attach(&launched.cgroups, &mut fds)?;
    let request = Request::Boot(Box::new(Boot {
        isolation: options.isolation,
        hostname: options.hostname.clone(),
        network: match options.network {
            Network::None => InitNetwork::Own,
            Network::Allow(_) => InitNetwork::Served { port: proxy::PORT },
            Network::Host => InitNetwork::Host,
        },
        take_id: launched
            .id
            .as_ref()
            .map(|lease| if namespaces { USER_ID } else { lease.id }),
        env: root::environment(options, view.rootfs.as_ref(), &view.home),
        rootfs: view.rootfs.map(|rootfs| rootfs.source),
        walls: view.walls,
        root: view.root,
        limits: options.limits.clone(),
        cgroups: cgroups_for_init,
    }));
    launched
        .channel
        .send(&Frame::new(&request, fds)?)
        .map_err(BootError::Channel)?;
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
    let Launched {
        channel,
        init,
        cgroups,
        id,
    } = launched;
    Ok(Machine {
        channel,
        proc_fd,
        deputy,
        listener,
        home: view.home,
        enforcement: Enforcement::of(options.isolation, &cgroups),
        host: HostSide {
            init,
            _cgroups: cgroups,
            _id: id,
            _folder: view.folder,
        },
    })
}

/// Attaches what init needs of the VM's cgroups.
fn attach(cgroups: &VmCgroups, fds: &mut Vec<OwnedFd>) -> Result<Cgroups, BootError> {
    let mut attached = |fd: OwnedFd| {
        fds.push(fd);
        (fds.len() - 1) as Attached
    };
    let mut share = |fd: Option<BorrowedFd<'_>>| -> Result<Option<Attached>, BootError> {
        let fd = fd.map(|fd| fd.try_clone_to_owned()).transpose();
        Ok(fd.map_err(BootError::Channel)?.map(&mut attached))
    };
    let families = share(cgroups.families_fd())?;
    let memory = match share(cgroups.memory_fd())? {
        Some(directory) => Some(MemoryCount::Directory(directory)),
        None => (cgroups.memory_by == Some(Version::Two)).then_some(MemoryCount::InFamilies),
    };
    let joins = cgroups.joins()?.into_iter().map(attached).collect();
    Ok(Cgroups {
        families,
        memory,
        joins,
    })
}

/// Starts an init ahead for the next VM of this kind.
pub fn prepare_next(options: &Options) {
    // Without walls there is nothing that takes time.
    if options.isolation == Isolation::Namespaces {
        spare::prepare(options.specification());
    }
}

/// What init hands over when it is ready.
struct Ready {
    /// The VM's `/proc`.
    proc_fd: OwnedFd,
    /// The socket to serve where there is to be one.
    listener: Option<OwnedFd>,
    /// The pid of init's deputy, if it has one.
    deputy: Option<u32>,
}

/// Waits for init.
fn await_ready(channel: &Channel, served: bool) -> Result<Ready, BootError> {
    let deadline = Instant::now() + BOOT_DEADLINE;
    let mut buffer = Vec::new();
    loop {
        match channel.receive::<Reply>(&mut buffer) {
            Ok(Some((Reply::Ready { deputy }, fds))) => {
                let mut fds = fds.into_iter();
                // What is attached and does not arrive found no room in this process (`unix(7)`, SCM_RIGHTS).
                let no_room = || BootError::Channel(io::Error::from_raw_os_error(libc::EMFILE));
                let proc_fd = fds.next().ok_or_else(no_room)?;
                let listener = match (fds.next(), served) {
                    (Some(_), false) => return Err(BootError::Died(None)),
                    (None, true) => return Err(no_room()),
                    (listener, _) => listener,
                };
                return Ok(Ready {
                    proc_fd,
                    listener,
                    deputy,
                });
            }
            Ok(Some((Reply::BootFailed { step, errno, path }, _))) => {
                return Err(match path {
                    Some(path) => BootError::Mount { path, errno },
                    None => BootError::SetUp { step, errno },
                });
            }
            Ok(_) => return Err(BootError::Died(None)),
            Err(ReceiveError::Socket(error)) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(BootError::Died(Some(error))),
        }
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(BootError::Deadline);
        }
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let mut watched = [PollFd::new(channel.as_fd(), PollFlags::POLLIN)];
        match poll(&mut watched, timeout) {
            Ok(_) | Err(nix::Error::EINTR) => {}
            Err(error) => return Err(BootError::Channel(error.into())),
        }
    }
}

/// Whether this process gives each VM an id of its own.
#[must_use]
pub fn is_root() -> bool {
    Uid::effective().is_root()
}
