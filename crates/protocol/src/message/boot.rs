//! How another init is started, and how it makes a VM.

use serde::{Deserialize, Serialize};

use super::{Attached, ProgramUser, ReadOnlyPlace};

/// How another init is started. Errors after the start are reported as [`Reply::BootFailed`](super::Reply::BootFailed)
/// on the new init's socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// `CLONE_NEW*` flags; 0 for the host's own namespaces.
    pub namespaces: i32,
    /// Whether a directory of the cgroup v2 hierarchy is attached, in which it starts.
    pub cgroup: bool,
    /// How many `tasks` files of cgroup v1 are attached after that. It joins each by writing 0, so that everything it
    /// starts is in them too.
    pub joins: u8,
    /// How many further `tasks` files are attached, which it joins once it has its cgroup namespace, if it takes one.
    pub joins_after: u8,
    /// Whether it sends [`Reply::Settled`](super::Reply::Settled) when all of this is done.
    pub reports: bool,
    /// The uid and gid of its user in its user namespace; `None` without a user namespace. With one it also takes a cgroup namespace, whose roots are the directories that it is in by then.
    pub own_map: Option<OwnMap>,
    /// Whether these ids differ from the server's. The namespace is then made as that user, who owns it and is charged
    /// for everything that the kernel counts by user in it.
    pub take_ids: bool,
}

/// A mapping of one id: the only one that a process without privilege may give its user namespace
/// (`user_namespaces(7)`).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnMap {
    /// The uid and gid in the namespace.
    pub inside: u32,
    /// The host's uid.
    pub uid: u32,
    /// The host's gid.
    pub gid: u32,
    /// Whether it is part of a larger map, which the host has made by the time of the boot request. Otherwise the process
    /// maps these ids itself, and no others.
    pub is_part: bool,
}

/// What init makes before it sends [`Reply::Ready`](super::Reply::Ready).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Boot {
    /// The level of isolation. With [`Isolation::None`], the fields before `env` are not used.
    pub isolation: Isolation,
    /// The host name in the VM; only with [`Isolation::Namespaces`].
    pub hostname: String,
    /// The VM's network.
    pub network: Network,
    /// The uid and gid to take, if the host is root: mapped ids or, without namespaces, separate ids of the host.
    pub take_id: Option<u32>,
    /// A host directory that is the root, below the entries of `root`. It is never written to: changes go to a layer of
    /// the VM if the kernel can lay an overlay over it, and are refused otherwise.
    pub rootfs: Option<BindSource>,
    /// What the VM begins with; only with [`Isolation::Namespaces`].
    pub layers: Layers,
    /// A directory of the host for the VM's own files, if they are not in memory; only with [`Isolation::Namespaces`].
    pub disk: Option<OwnDisk>,
    /// The files that programs may use; with [`Isolation::Landlock`], and only then.
    pub landlock: Option<LandlockFiles>,
    /// The content of `/sys`; with [`Isolation::Namespaces`], and only then.
    pub hardware: Option<Hardware>,
    /// The entries of the root file system, in the order in which they are made. Parent directories are made as needed.
    pub root: Vec<RootEntry>,
    /// The initial environment of every process; `None` for a prebooted VM, which gets it by
    /// [`Request::Adopt`](super::Request::Adopt).
    pub env: Option<Vec<(String, String)>>,
    /// Limits for every process.
    pub limits: Limits,
    /// The VM's cgroups.
    pub cgroups: Cgroups,
    /// The ids of the inner user namespace, in which programs can be root; `None` without one. Only with
    /// [`Isolation::Namespaces`].
    pub inner_ids: Option<InnerIds>,
    /// The user that steps on files are done as, and that owns the writable directories of the host.
    pub user: ProgramUser,
}

/// The ids that exist in a VM's inner user namespace: a child of the VM's own user namespace. Init stays outside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum InnerIds {
    /// Root alone. It is the id that is `user` outside of the inner namespace.
    Single,
    /// All 65,536 of the VM, each the same as outside of the inner namespace. Every program of the VM is in it.
    Range,
}

/// A directory of the host for the VM's own files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnDisk {
    /// The directory.
    pub files: BindSource,
    /// The lock that says that a VM has it. The host may be killed; so init has it, too, until nothing runs in the VM.
    pub lock: Attached,
}

/// What earlier VMs wrote, and this VM begins with.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Layers {
    /// Mounts from [`Reply::Layer`](super::Reply::Layer), the newest first.
    pub mounts: Vec<Attached>,
    /// Whether other VMs use these mounts too, so that init clones them.
    pub shared: bool,
}

/// The description of the processors from [`Reply::HardwareDescribed`](super::Reply::HardwareDescribed).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hardware {
    /// The mount of the description.
    pub mount: Attached,
    /// Whether init clones it; otherwise it is for this VM only.
    pub can_clone: bool,
}

/// The host's cgroups that init uses. Init keeps their directories open while the VM lives. With
/// [`Isolation::Namespaces`] it keeps them as detached mounts, in which `..` does not leave the directory. At the other
/// levels the host's mounts are visible anyway.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// A directory of the cgroup v2 hierarchy in which init makes one for each family.
    pub families: Option<BindSource>,
    /// Where processes that the kernel kills because memory runs out are counted, if the VM's memory is limited.
    pub memory: Option<MemoryCount>,
    /// What init writes to each directory that it makes in [`families`](Self::families).
    pub family_settings: Vec<CgroupSetting>,
    /// What init writes to each directory that it makes in [`MemoryCount::Directory`].
    pub memory_settings: Vec<CgroupSetting>,
    /// The VM's cgroups that it shows, read-only.
    pub shown: Vec<ShownCgroup>,
}

/// A file of a cgroup, and its value.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CgroupSetting {
    /// The file's name.
    pub file: String,
    /// The value to write.
    pub value: String,
}

/// A cgroup directory of the VM that programs see.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShownCgroup {
    /// Its path below `/sys`: a directory in the description of the hardware.
    pub path: String,
    /// The directory.
    pub source: BindSource,
}

/// Where each family's killed processes are counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryCount {
    /// In the family's directory of [`Cgroups::families`].
    InFamilies,
    /// In a directory that init makes for each family below this directory of the memory hierarchy of cgroup v1.
    Directory(BindSource),
}

/// The host files that programs may use if Landlock restricts them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LandlockFiles {
    /// The directory of the VM's own files, in which everything is allowed.
    pub directory: String,
    /// Host files and directories that programs may read and execute. Missing ones are skipped.
    pub readable: Vec<String>,
    /// Host files that programs may not read, and the content that they read instead.
    pub replaced: Vec<ReplacedFile>,
    /// The positions within a page of memory (the address modulo 4096) at which the C library has the paths of those
    /// files.
    pub path_offsets: Vec<u16>,
}

/// A file whose content differs from the host's.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReplacedFile {
    /// The absolute path by which programs open it.
    pub path: String,
    /// The content that programs read.
    pub content: String,
}

/// The level of isolation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Isolation {
    /// Its own namespaces, a private root, and seccomp.
    Namespaces,
    /// Landlock and seccomp in the host's namespaces.
    Landlock,
    /// No isolation: init only starts and reaps processes.
    None,
}

/// The network of a VM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Network {
    /// Only its own loopback.
    Own,
    /// Its own loopback, with a listening socket on `127.0.0.1` at this port that the host serves. The socket is
    /// attached to [`Reply::Ready`](super::Reply::Ready) after `/proc`.
    Served {
        /// The port, 1024 to 65535.
        port: u16,
    },
    /// The host's network.
    Host,
}

/// Limits that init sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// The number of processes and threads of the VM's user.
    pub pids: u64,
    /// The number of open files of a process.
    pub open_files: u64,
    /// The size in bytes of the tmpfs that private directories share.
    pub disk_bytes: u64,
    /// The number of terminals that may be open at a time.
    pub terminals: u32,
}

/// One entry of the root file system. Paths are absolute and normalized.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootEntry {
    /// An empty directory in a private one, with mode 0755, owned by the VM's user.
    Directory {
        /// Its path.
        path: String,
    },
    /// A small read-only file.
    File {
        /// Its path.
        path: String,
        /// Its content.
        content: String,
    },
    /// A small, read-only, executable file.
    Script {
        /// Its path.
        path: String,
        /// Its content.
        content: String,
    },
    /// A symbolic link.
    Symlink {
        /// Its path.
        path: String,
        /// Its target.
        target: String,
    },
    /// Symbolic links in one directory, all with the same target.
    Links {
        /// The path of the directory, which is made.
        path: String,
        /// The names of the links.
        names: Vec<String>,
        /// Their target.
        target: String,
    },
    /// A small read-only file that covers an existing one, in a directory that is not writable.
    Cover {
        /// Its path.
        path: String,
        /// Its content.
        content: String,
    },
    /// A file or directory of the host.
    Bind {
        /// Its path.
        path: String,
        /// What is shown there.
        source: BindSource,
        /// Whether writing to it, and to everything mounted below it, is refused.
        read_only: bool,
    },
    /// A file or directory of the host that the caller asked for, shown like a bind. Links on the path are not
    /// followed, because an earlier VM may have left them; errors contain the path.
    Mount {
        /// Its path.
        path: String,
        /// What is shown there.
        source: BindSource,
        /// Whether writing to it, and to everything mounted below it, is refused.
        read_only: bool,
        /// Places in it that are read-only. None is above another one.
        protect: Vec<ReadOnlyPlace>,
    },
    /// A private, writable directory, on the tmpfs that all private directories share.
    Private {
        /// Its path.
        path: String,
        /// Its permission bits.
        mode: u32,
        /// Whether the caller asked for it: then it must be made. As with a mount, links on the path are not followed,
        /// and errors contain the path.
        asked: bool,
        /// Whether it is `user`'s, in a VM whose users are real. There the others are root's.
        of_user: bool,
        /// Whether its content is part of the VM's layer.
        kept: bool,
    },
}

impl RootEntry {
    /// The path of the entry.
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

/// The source of a bind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindSource {
    /// A host path.
    Path(String),
    /// A detached mount, attached to the message (`open_tree(2)` with `OPEN_TREE_CLONE`).
    Mount(Attached),
    /// A host path without links that must still lead to the attached file, else ESTALE. For a host that may not clone
    /// mounts itself.
    Opened {
        /// The path's bytes.
        path: Vec<u8>,
        /// The file that it led to when the host opened it (`O_PATH`).
        fd: Attached,
    },
}
