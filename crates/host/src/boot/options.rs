//! The options of a VM.

use std::path::PathBuf;

use agent_vm_layers::Layers;
use agent_vm_protocol::message::{Isolation, Limits, ProtectedPlace};

use super::server_node::ServerNode;
use crate::proxy::Rule;

/// The network that a VM can reach.
#[derive(Debug, Clone, PartialEq)]
pub enum Network {
    /// Its own loopback.
    None,
    /// Its own loopback and, through a proxy on it, these destinations, which may include all public ones.
    Allow(Vec<Rule>),
    /// The whole network of the host.
    Host,
}

/// The options of a VM.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    /// The init program's file.
    pub init: PathBuf,
    /// The server's own Node.js, shown first on the PATH.
    pub node: Option<ServerNode>,
    /// The level of isolation.
    pub isolation: Isolation,
    /// The host name in the VM.
    pub hostname: String,
    /// The host directory that becomes the root; `None` for the host's own programs.
    pub rootfs: Option<PathBuf>,
    /// The host directory that becomes the user's home; `None` for a private one.
    pub home: Option<PathBuf>,
    /// Other host directories and files that are shown.
    pub mounts: Vec<Mount>,
    /// Where the VM's own files are; `None` for memory.
    pub disk: Option<DiskOptions>,
    /// Private directories in addition to the usual ones: absolute, normalized paths.
    pub directories: Vec<String>,
    /// The host settings and data that are shown in addition to the default, or hidden.
    pub host_files: HostFiles,
    /// Commands of what is shown, to add to the PATH: names, and paths in the VM.
    pub bins: Vec<(String, String)>,
    /// The network.
    pub network: Network,
    /// Variables to add to the environment of every process.
    pub env: Vec<(String, String)>,
    /// Limits that init enforces.
    pub limits: Limits,
    /// Limits that a cgroup enforces, for the whole VM.
    pub resources: Resources,
    /// The level at which init logs to standard error, if any.
    pub log: Option<String>,
    /// The ids for a root; `None` for a VM without one.
    pub ids: Option<WantedIds>,
    /// What it begins with.
    pub layers: Layers,
    /// The user that programs run as by default: a name or a number; `None` for `user`.
    pub user: Option<String>,
}

/// Where a VM's own files are on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DiskOptions {
    /// The directory of the disks.
    pub directory: PathBuf,
    /// The name of the disk, which is kept when its VM ends; `None` for one that ends with its VM.
    pub name: Option<String>,
}

/// The ids that the caller asks for, for a VM's root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WantedIds {
    /// A range if this host has one, else a single id.
    Best,
    /// A single id.
    Single,
    /// A range.
    Range,
}

/// A file or directory of the host that the VM shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// The path in the VM: absolute and normalized.
    pub path: String,
    /// The path on the host. Its links are resolved when the VM is made.
    pub host_path: PathBuf,
    /// Whether writing to it, and to everything mounted below it, is refused.
    pub read_only: bool,
    /// Whether it contains installed packages: its path must not contain a link, and the VM's user reads the packages
    /// as others do.
    pub software: bool,
    /// Places in it that are read-only, if it is writable. None is above another one.
    pub protect: Vec<ProtectedPlace>,
}

/// Host files that a server requests in addition to the default, or hides.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFiles {
    /// Files and directories below `/etc` to show whatever their owner, if others may read them.
    pub etc: Vec<String>,
    /// Paths to hide, with everything below them.
    pub hide: Vec<String>,
}

/// What a VM may use of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Bytes of memory, including private files and the kernel's memory for them.
    pub memory_bytes: Option<u64>,
    /// Processor time, in cores.
    pub cpus: Option<f64>,
}
