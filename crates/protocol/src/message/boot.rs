//! How another init starts, and what it makes of itself.

use serde::{Deserialize, Serialize};

use super::Attached;

/// Where and as whom another init starts. What fails of it after the start is reported as
/// [`Reply::BootFailed`](super::Reply::BootFailed), on the other's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// `CLONE_NEW*` flags, or 0 for the host's own namespaces.
    pub namespaces: i32,
    /// Whether a directory of the cgroup v2 hierarchy to start in is attached.
    pub cgroup: bool,
    /// How many `tasks` files of cgroup v1 are attached behind that, which it joins by writing 0 to each: all that it starts is
    /// then in there.
    pub joins: u8,
    /// How many more `tasks` files are attached, which it joins when it has its cgroup namespace, if it takes one.
    pub joins_after: u8,
    /// Whether it says [`Reply::Settled`](super::Reply::Settled) when all of this is done.
    pub reports: bool,
    /// The one uid and gid of its user namespace, which it maps itself; none without one. It then takes a cgroup namespace too, of
    /// which the directories that it is in by then are the roots.
    pub own_map: Option<OwnMap>,
    /// Whether those are not the server's own: the namespace is then made as that user, who owns it, and whom the kernel charges
    /// for what is counted by user in it.
    pub take_ids: bool,
}

/// The one mapping that a process without privilege may give its user namespace (`user_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMap {
    /// The uid and gid inside.
    pub inside: u32,
    /// The host's uid.
    pub uid: u32,
    /// The host's gid.
    pub gid: u32,
}

/// What init sets up before it says [`Reply::Ready`](super::Reply::Ready).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// How far the VM is walled off; with [`Isolation::None`] the fields up to `env` are not used.
    pub isolation: Isolation,
    /// The host name inside; with [`Isolation::Namespaces`] alone.
    pub hostname: String,
    /// Which network the VM has.
    pub network: Network,
    /// The uid and gid to take on, where the host is root: one that it has mapped, or, without namespaces, one of its own.
    pub take_id: Option<u32>,
    /// A host directory that is the root, below what `root` puts into it. It is never written to: what is
    /// changed goes to a layer of the VM's own, where the kernel can lay one over it, and is refused elsewhere.
    pub rootfs: Option<BindSource>,
    /// With [`Isolation::Landlock`], and only then: what programs reach.
    pub landlock: Option<LandlockFiles>,
    /// With [`Isolation::Namespaces`], and only then: what is shown as `/sys`.
    pub hardware: Option<Hardware>,
    /// What the root file system is made of, in the order it is made. Parent directories are made as needed.
    pub root: Vec<RootEntry>,
    /// The environment that every process starts from; none for a VM that is booted ahead, which
    /// [`Request::Adopt`](super::Request::Adopt) brings one.
    pub env: Option<Vec<(String, String)>>,
    /// Bounds for every process.
    pub limits: Limits,
    /// The VM's cgroups.
    pub cgroups: Cgroups,
}

/// What [`Reply::HardwareDescribed`](super::Reply::HardwareDescribed) brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The mount.
    pub mount: Attached,
    /// Whether init is to clone it; otherwise it is this VM's alone.
    pub can_clone: bool,
}

/// What init has of the host's cgroups. Init holds their directories for as long as the VM lives, so with
/// [`Isolation::Namespaces`] it holds them as detached mounts, in which `..` ends at the directory itself. The other levels
/// have the host's mounts around them anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// A directory of the cgroup v2 hierarchy in which init makes one for each family.
    pub families: Option<BindSource>,
    /// Where what the kernel kills for want of memory is counted, if the VM's memory is bounded.
    pub memory: Option<MemoryCount>,
    /// What init writes to each directory that it makes in [`families`](Self::families).
    pub family_settings: Vec<CgroupSetting>,
    /// What init writes to each directory that it makes in that of [`MemoryCount::Directory`].
    pub memory_settings: Vec<CgroupSetting>,
    /// What the VM shows of its cgroups, read-only.
    pub shown: Vec<ShownCgroup>,
}

/// A file of a cgroup and what it is set to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSetting {
    /// The file's name.
    pub file: String,
    /// What is written.
    pub value: String,
}

/// A cgroup directory of the VM's own that programs see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCgroup {
    /// Where, below `/sys`: a directory that the description of the hardware has.
    pub path: String,
    /// The directory.
    pub source: BindSource,
}

/// Where each family's killed processes are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryCount {
    /// In the family's directory of [`Cgroups::families`].
    InFamilies,
    /// In one that init makes for each family in this directory of the memory hierarchy of cgroup v1.
    Directory(BindSource),
}

/// The host files that programs reach where Landlock restricts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockFiles {
    /// The directory of the VM's own files, which it may do everything with.
    pub directory: String,
    /// Files and directories of the host that it may read and execute. Those that are not there are passed over.
    pub readable: Vec<String>,
    /// Files of the host that it may not read, and what programs read in their place.
    pub replaced: Vec<ReplacedFile>,
    /// Where in a page of memory (its address modulo 4096) the C library has the paths of those.
    pub path_offsets: Vec<u16>,
}

/// A file that reads otherwise than the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedFile {
    /// The absolute path by which programs open it.
    pub path: String,
    /// What they read.
    pub content: String,
}

/// How far the VM is walled off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Namespaces of its own, a private root, seccomp.
    Namespaces,
    /// Landlock and seccomp in the host's namespaces.
    Landlock,
    /// Nothing: init only starts and reaps.
    None,
}

/// Which network a VM has.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// A loopback of its own, and nothing else.
    Own,
    /// A loopback of its own, with a socket on it that the host serves: attached to [`Reply::Ready`](super::Reply::Ready)
    /// behind `/proc`, it listens on `127.0.0.1` at this port.
    Served {
        /// The port, 1024 to 65535.
        port: u16,
    },
    /// The host's.
    Host,
}

/// Bounds that init sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads of the VM's user.
    pub pids: u64,
    /// Open files of a process.
    pub open_files: u64,
    /// Bytes of the tmpfs that private directories share.
    pub disk_bytes: u64,
    /// Terminals that may be open at a time.
    pub terminals: u32,
}

/// One entry of the root file system. Paths are absolute, of normal components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootEntry {
    /// An empty directory in a private one, of mode 0755 and the VM user's.
    Directory {
        /// Where.
        path: String,
    },
    /// A small read-only file.
    File {
        /// Where.
        path: String,
        /// What it says.
        content: String,
    },
    /// A small read-only file that can be executed.
    Script {
        /// Where.
        path: String,
        /// What it says.
        content: String,
    },
    /// A symbolic link.
    Symlink {
        /// Where.
        path: String,
        /// What it points to.
        target: String,
    },
    /// Symbolic links in one directory, all to the same file.
    Links {
        /// The directory, which is made.
        path: String,
        /// The names of the links.
        names: Vec<String>,
        /// What they point to.
        target: String,
    },
    /// A small read-only file over one that is there, in a directory that takes no writes.
    Cover {
        /// Where.
        path: String,
        /// What it says.
        content: String,
    },
    /// A file or directory of the host.
    Bind {
        /// Where.
        path: String,
        /// What is shown there.
        source: BindSource,
        /// Whether writing to it, and to whatever is mounted below it, is refused.
        read_only: bool,
    },
    /// A file or directory of the host that the VM's owner asked for, as with a bind. Links on the way to it are not
    /// followed, for an earlier VM may have left them; what fails names its path.
    Mount {
        /// Where.
        path: String,
        /// What is shown there.
        source: BindSource,
        /// Whether writing to it, and to whatever is mounted below it, is refused.
        read_only: bool,
    },
    /// A directory of the VM's own, writable, on the one tmpfs that all of these share.
    Private {
        /// Where.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// Whether the VM's owner asked for it: then it must be made. As with a mount, links on the way are not followed, and what
        /// fails names its path.
        asked: bool,
    },
}

impl RootEntry {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Directory { path }
            | Self::File { path, .. }
            | Self::Script { path, .. }
            | Self::Symlink { path, .. }
            | Self::Links { path, .. }
            | Self::Cover { path, .. }
            | Self::Bind { path, .. }
            | Self::Mount { path, .. }
            | Self::Private { path, .. } => path,
        }
    }
}

/// What a bind shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindSource {
    /// A host path.
    Path(String),
    /// A detached mount, attached (`open_tree(2)` with `OPEN_TREE_CLONE`).
    Mount(Attached),
    /// A host path without links that must still lead to what is attached, else ESTALE. For a host that may
    /// not clone mounts itself.
    Opened {
        /// The path's bytes.
        path: Vec<u8>,
        /// What it led to when the host looked (`O_PATH`).
        fd: Attached,
    },
}
