//! The options of a VM.

use std::path::PathBuf;

use agent_vm_protocol::message::{Isolation, Limits};

use super::server_node::ServerNode;
use crate::proxy::Rule;

/// What a VM can reach.
#[derive(Debug, Clone, PartialEq)]
pub enum Network {
    /// Its own loopback.
    None,
    /// Its own loopback, and these destinations through a proxy on it, all public ones possibly among them.
    Allow(Vec<Rule>),
    /// The host's network, all of it.
    Host,
}

/// The options of a VM.
#[derive(Debug, Clone, PartialEq)]
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
    /// Directories of the VM's own besides the usual ones: absolute, of normal components.
    pub directories: Vec<String>,
    /// What of the host's settings and data shows beyond what does by itself, or does not.
    pub host_files: HostFiles,
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

/// A file or directory of the host that the VM shows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mount {
    /// Where, inside: absolute, of normal components.
    pub path: String,
    /// What. Links in it are resolved when the VM is made.
    pub host_path: PathBuf,
    /// Whether writing to it, and to whatever is mounted below it, is refused.
    pub read_only: bool,
    /// Whether it is installed packages: their path must have no link, and the VM's user reads them as others do.
    pub software: bool,
}

/// What a server asks for beyond what shows by itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HostFiles {
    /// Files and directories below `/etc` that show whatever their owner, if others may read them.
    pub etc: Vec<String>,
    /// What does not show that would, with all below it.
    pub hide: Vec<String>,
}

/// What a VM may take of the host.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Resources {
    /// Bytes of memory, private files and the kernel's own for them included.
    pub memory_bytes: Option<u64>,
    /// Cores' worth of time.
    pub cpus: Option<f64>,
}
