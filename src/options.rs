//! Options as `index.js` passes them: checked there, so what does not fit here is a mistake of ours.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use agent_vm_host::boot::{HostFiles, Isolation, Mount, Network, Options, Resources, ServerNode};
use agent_vm_host::proxy::{AddressRange, Destination, Rule};
use agent_vm_host::{Command, Limits};
use serde::Deserialize;

/// `AgentVm.create`.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct CreateOptions {
    init: PathBuf,
    node: Option<PathBuf>,
    isolation: IsolationName,
    hostname: String,
    rootfs: Option<PathBuf>,
    home: Option<PathBuf>,
    #[serde(default)]
    mounts: Vec<MountOption>,
    #[serde(default)]
    directories: Vec<String>,
    #[serde(default)]
    host: HostOption,
    #[serde(default)]
    bins: Vec<(String, String)>,
    network: NetworkOption,
    env: Vec<(String, String)>,
    limits: LimitOptions,
    log: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct MountOption {
    path: String,
    host_path: PathBuf,
    read_only: bool,
    #[serde(default)]
    software: bool,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct HostOption {
    #[serde(default)]
    etc: Vec<String>,
    #[serde(default)]
    hide: Vec<String>,
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum IsolationName {
    Namespaces,
    Landlock,
    None,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
enum NetworkOption {
    None,
    Host,
    Public,
    #[serde(untagged)]
    List {
        allow: Vec<AllowOption>,
    },
}

#[derive(Debug, Deserialize)]
struct AllowOption {
    #[serde(flatten)]
    destination: DestinationOption,
    port: Option<u16>,
}

#[derive(Debug, Deserialize)]
#[serde(untagged, rename_all_fields = "camelCase")]
enum DestinationOption {
    Name { name: String },
    Subdomains { subdomains_of: String },
    Addresses { address: IpAddr, prefix_length: u8 },
}

impl From<NetworkOption> for Network {
    fn from(option: NetworkOption) -> Self {
        match option {
            NetworkOption::None => Self::None,
            NetworkOption::Host => Self::Host,
            NetworkOption::Public => Self::Allow(vec![Rule {
                destination: Destination::Public,
                port: None,
            }]),
            NetworkOption::List { allow } => Self::Allow(allow.into_iter().map(Into::into).collect()),
        }
    }
}

impl From<AllowOption> for Rule {
    fn from(option: AllowOption) -> Self {
        let destination = match option.destination {
            DestinationOption::Name { name } => Destination::Name(name),
            DestinationOption::Subdomains { subdomains_of } => Destination::SubdomainsOf(subdomains_of),
            DestinationOption::Addresses {
                address,
                prefix_length,
            } => Destination::Addresses(AddressRange::new(address, prefix_length)),
        };
        Self {
            destination,
            port: option.port,
        }
    }
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct LimitOptions {
    pids: u64,
    open_files: u64,
    disk_bytes: u64,
    terminals: u32,
    replay_bytes: usize,
    memory_bytes: Option<u64>,
    cpus: Option<f64>,
}

impl CreateOptions {
    /// For the host, and how many bytes of output each process keeps.
    pub fn into_host(self) -> (Options, usize) {
        let replay_bytes = self.limits.replay_bytes;
        let options = Options {
            init: self.init,
            node: self.node.as_deref().map(ServerNode::of),
            isolation: match self.isolation {
                IsolationName::Namespaces => Isolation::Namespaces,
                IsolationName::Landlock => Isolation::Landlock,
                IsolationName::None => Isolation::None,
            },
            hostname: self.hostname,
            rootfs: self.rootfs,
            home: self.home,
            mounts: self
                .mounts
                .into_iter()
                .map(|mount| Mount {
                    path: mount.path,
                    host_path: mount.host_path,
                    read_only: mount.read_only,
                    software: mount.software,
                })
                .collect(),
            directories: self.directories,
            host_files: HostFiles {
                etc: self.host.etc,
                hide: self.host.hide,
            },
            bins: self.bins,
            network: self.network.into(),
            env: self.env,
            limits: Limits {
                pids: self.limits.pids,
                open_files: self.limits.open_files,
                disk_bytes: self.limits.disk_bytes,
                terminals: self.limits.terminals,
            },
            resources: Resources {
                memory_bytes: self.limits.memory_bytes,
                cpus: self.limits.cpus,
            },
            log: self.log,
        };
        (options, replay_bytes)
    }
}

/// Of `exec`, `execFile`, `spawn` and `openShell`.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct RunOptions {
    #[serde(default)]
    env: Vec<(String, String)>,
    cwd: Option<String>,
    timeout: Option<f64>,
    max_output_bytes: Option<usize>,
    #[serde(default)]
    streams: bool,
    cols: Option<u16>,
    rows: Option<u16>,
}

/// Bytes that an `exec` keeps of each stream unless told otherwise.
const MAX_OUTPUT_BYTES: usize = 16 * 1024 * 1024;

impl RunOptions {
    pub fn timeout(&self) -> Option<Duration> {
        self.timeout
            .filter(|ms| *ms > 0.0)
            .and_then(|ms| Duration::try_from_secs_f64(ms / 1000.0).ok())
    }

    pub fn max_output_bytes(&self) -> usize {
        self.max_output_bytes.unwrap_or(MAX_OUTPUT_BYTES)
    }

    /// Whether output is also told as it comes.
    pub fn streams(&self) -> bool {
        self.streams
    }

    /// Columns and rows of a terminal.
    pub fn size(&self) -> (u16, u16) {
        (self.cols.unwrap_or(80), self.rows.unwrap_or(24))
    }

    /// The command that a command line makes with these options: a program and its arguments, with a NUL between them.
    pub fn into_command(self, command_line: &str) -> Command {
        let mut words = command_line.split('\0').map(str::to_owned);
        Command {
            program: words.next().unwrap_or_default(),
            arguments: words.collect(),
            env: self.env,
            cwd: self.cwd,
        }
    }
}
