//! Options, as plain objects whose members lib/ has checked: what does not fit here is a mistake of ours. lib/defaults.js has the
//! defaults.
//!
//! N-API reads inherited members too, so lib/ makes these objects without a prototype.

use std::net::{AddrParseError, IpAddr};
use std::time::Duration;

use agent_vm_host::boot::{HostFiles, Isolation, Mount, Network, Options, Resources, ServerNode};
use agent_vm_host::proxy::{AddressRange, Destination, Rule};
use agent_vm_host::{Command, Limits};
use napi::Status;
use napi_derive::napi;

/// A name and a value, or a name and a path.
type Pairs = Vec<(String, String)>;

/// What to boot, or to look for a way to boot.
#[napi(object, object_to_js = false)]
pub struct BootRequest {
    /// The path of the init binary.
    pub init: String,
    /// The path of the Node.js that the VM shows.
    #[napi(ts_type = "string | undefined")]
    pub node: Option<String>,
    /// How strongly the VM is isolated.
    pub isolation: IsolationName,
    /// The host name inside.
    pub hostname: String,
    /// The directory that becomes the root.
    #[napi(ts_type = "string | undefined")]
    pub rootfs: Option<String>,
    /// The directory that becomes the home.
    #[napi(ts_type = "string | undefined")]
    pub home: Option<String>,
    /// What the VM shows of the host.
    #[napi(ts_type = "readonly MountRequest[]")]
    pub mounts: Vec<MountRequest>,
    /// Empty directories.
    #[napi(ts_type = "readonly string[]")]
    pub directories: Vec<String>,
    /// What it shows, and hides, of the host's settings.
    pub host: HostFilesRequest,
    /// Commands of software: names, and paths inside.
    #[napi(ts_type = "readonly [name: string, path: string][]")]
    pub bins: Pairs,
    /// What programs can reach.
    pub network: NetworkName,
    /// For the network "list", its destinations.
    #[napi(ts_type = "readonly AllowRequest[]")]
    pub allow: Vec<AllowRequest>,
    /// The environment of every process.
    #[napi(ts_type = "readonly [name: string, value: string][]")]
    pub env: Pairs,
    /// Limits.
    pub limits: LimitRequest,
    /// What init logs.
    #[napi(ts_type = "string | undefined")]
    pub log: Option<String>,
}

/// A level of isolation.
#[napi(string_enum = "lowercase")]
pub enum IsolationName {
    /// In namespaces of its own.
    Namespaces,
    /// Under Landlock.
    Landlock,
    /// Not at all.
    None,
}

/// What programs can reach.
#[napi(string_enum = "lowercase")]
pub enum NetworkName {
    /// Their own loopback.
    None,
    /// The host's network.
    Host,
    /// Public destinations.
    Public,
    /// Listed destinations.
    List,
}

/// What the VM shows at a path.
#[napi(object, object_to_js = false)]
pub struct MountRequest {
    /// The path inside.
    pub path: String,
    /// The path on the host.
    pub host_path: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether it is software, whose links are not followed.
    #[napi(ts_type = "boolean | undefined")]
    pub software: Option<bool>,
}

/// Which of the host's settings and data a VM shows and hides.
#[napi(object, object_to_js = false)]
pub struct HostFilesRequest {
    /// Paths below /etc to show.
    #[napi(ts_type = "readonly string[]")]
    pub etc: Vec<String>,
    /// Paths to hide.
    #[napi(ts_type = "readonly string[]")]
    pub hide: Vec<String>,
}

/// A destination: a name, the subdomains of one, or a range of addresses.
#[napi(object, object_to_js = false)]
pub struct AllowRequest {
    /// A host's name.
    #[napi(ts_type = "string | undefined")]
    pub name: Option<String>,
    /// A domain.
    #[napi(ts_type = "string | undefined")]
    pub subdomains_of: Option<String>,
    /// An address.
    #[napi(ts_type = "string | undefined")]
    pub address: Option<String>,
    /// How many bits of the address count.
    #[napi(ts_type = "number | undefined")]
    pub prefix_length: Option<u8>,
    /// The only port.
    #[napi(ts_type = "number | undefined")]
    pub port: Option<u16>,
}

/// Limits.
#[napi(object, object_to_js = false)]
pub struct LimitRequest {
    /// Processes.
    pub pids: u32,
    /// Open files of a process.
    pub open_files: u32,
    /// Bytes of private files.
    pub disk_bytes: f64,
    /// Terminals.
    pub terminals: u32,
    /// Bytes of output that are kept of each process.
    pub replay_bytes: u32,
    /// Bytes of memory.
    #[napi(ts_type = "number | undefined")]
    pub memory_bytes: Option<f64>,
    /// Cores.
    #[napi(ts_type = "number | undefined")]
    pub cpus: Option<f64>,
}

impl From<IsolationName> for Isolation {
    fn from(name: IsolationName) -> Self {
        match name {
            IsolationName::Namespaces => Self::Namespaces,
            IsolationName::Landlock => Self::Landlock,
            IsolationName::None => Self::None,
        }
    }
}

impl From<MountRequest> for Mount {
    fn from(mount: MountRequest) -> Self {
        Self {
            path: mount.path,
            host_path: mount.host_path.into(),
            read_only: mount.read_only,
            software: mount.software.unwrap_or(false),
        }
    }
}

impl TryFrom<AllowRequest> for Rule {
    type Error = napi::Error;

    fn try_from(allow: AllowRequest) -> napi::Result<Self> {
        let destination = match allow {
            AllowRequest { name: Some(name), .. } => Destination::Name(name),
            AllowRequest {
                subdomains_of: Some(domain),
                ..
            } => Destination::SubdomainsOf(domain),
            AllowRequest {
                address: Some(address),
                prefix_length: Some(prefix_length),
                ..
            } => {
                let address: IpAddr = address.parse().map_err(|error: AddrParseError| wrong(&error))?;
                Destination::Addresses(AddressRange::new(address, prefix_length))
            }
            _ => return Err(wrong(&"a destination without a name or an address")),
        };
        Ok(Self {
            destination,
            port: allow.port,
        })
    }
}

fn wrong(reason: &impl ToString) -> napi::Error {
    napi::Error::new(Status::InvalidArg, reason.to_string())
}

impl BootRequest {
    /// For the host, and how many bytes of output each process keeps.
    pub fn into_host(self) -> napi::Result<(Options, usize)> {
        let replay_bytes = self.limits.replay_bytes as usize;
        let network = match self.network {
            NetworkName::None => Network::None,
            NetworkName::Host => Network::Host,
            NetworkName::Public => Network::Allow(vec![Rule {
                destination: Destination::Public,
                port: None,
            }]),
            NetworkName::List => {
                let rules: napi::Result<_> = self.allow.into_iter().map(Rule::try_from).collect();
                Network::Allow(rules?)
            }
        };
        let options = Options {
            init: self.init.into(),
            node: self.node.as_deref().map(|node| ServerNode::of(node.as_ref())),
            isolation: self.isolation.into(),
            hostname: self.hostname,
            rootfs: self.rootfs.map(Into::into),
            home: self.home.map(Into::into),
            mounts: self.mounts.into_iter().map(Into::into).collect(),
            directories: self.directories,
            host_files: HostFiles {
                etc: self.host.etc,
                hide: self.host.hide,
            },
            bins: self.bins,
            network,
            env: self.env,
            limits: Limits {
                pids: u64::from(self.limits.pids),
                open_files: u64::from(self.limits.open_files),
                disk_bytes: self.limits.disk_bytes as u64,
                terminals: self.limits.terminals,
            },
            resources: Resources {
                memory_bytes: self.limits.memory_bytes.map(|bytes| bytes as u64),
                cpus: self.limits.cpus,
            },
            log: self.log,
        };
        Ok((options, replay_bytes))
    }
}

/// Of `exec` and `execFile`.
#[napi(object, object_to_js = false)]
pub struct ExecOptions {
    /// Environment variables.
    #[napi(ts_type = "readonly [name: string, value: string][] | undefined")]
    pub env: Option<Pairs>,
    /// The working directory.
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
    /// Milliseconds; 0 for no timeout.
    pub timeout: f64,
    /// Bytes that the result keeps of each stream.
    pub max_output_bytes: u32,
    /// Whether output is also sent as it comes.
    pub streams: bool,
}

/// Of `spawn`.
#[napi(object, object_to_js = false)]
pub struct SpawnOptions {
    /// Environment variables.
    #[napi(ts_type = "readonly [name: string, value: string][] | undefined")]
    pub env: Option<Pairs>,
    /// The working directory.
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
    /// Milliseconds; 0 for no timeout.
    pub timeout: f64,
}

/// Of `openShell`.
#[napi(object, object_to_js = false)]
pub struct ShellOptions {
    /// Environment variables.
    #[napi(ts_type = "readonly [name: string, value: string][]")]
    pub env: Pairs,
    /// The working directory.
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
    /// Columns of the terminal.
    pub cols: u16,
    /// Its rows.
    pub rows: u16,
}

/// The timeout that a number of milliseconds stands for; 0 is none.
pub fn timeout(milliseconds: f64) -> Option<Duration> {
    if milliseconds <= 0.0 {
        return None;
    }
    Duration::try_from_secs_f64(milliseconds / 1000.0).ok()
}

/// The command that a command line makes: a program and its arguments, with a NUL between them.
pub fn command(command_line: &str, env: Pairs, cwd: Option<String>) -> Command {
    let mut parts = command_line.split('\0').map(str::to_owned);
    Command {
        program: parts.next().unwrap_or_default(),
        arguments: parts.collect(),
        env,
        cwd,
    }
}
