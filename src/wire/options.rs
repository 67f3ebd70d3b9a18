//! Options, as plain objects whose members lib/ has checked: a value that does not fit here is a bug of this package.
//! lib/defaults.js has the defaults.
//!
//! N-API also reads inherited members, so lib/ makes these objects without a prototype.

use std::net::{AddrParseError, IpAddr};
use std::time::Duration;

use agent_vm_host::boot::{
    DiskOptions, HostFiles, Isolation, Mount, Network, Options, ProtectedPlace, Resources, ServerNode,
    WantedIds,
};
use agent_vm_host::proxy::{AddressRange, Destination, Rule};
use agent_vm_host::{Command, EndRequest, Layers, Limits, MorePipes, PipeDirection, Timeout};
use napi::Status;
use napi_derive::napi;

/// Names with values, or names with paths.
type Pairs = Vec<(String, String)>;

/// Describes a VM to boot, or for which to probe the host.
#[napi(object, object_to_js = false)]
pub struct BootRequest {
    /// The path of the init binary.
    pub init: String,
    /// The path of the Node.js that the VM shows.
    #[napi(ts_type = "string | undefined")]
    pub node: Option<String>,
    /// The level of isolation.
    pub isolation: IsolationName,
    /// The host name in the VM.
    pub hostname: String,
    /// The host directory that becomes the root.
    #[napi(ts_type = "string | undefined")]
    pub rootfs: Option<String>,
    /// The host directory that becomes the home.
    #[napi(ts_type = "string | undefined")]
    pub home: Option<String>,
    /// The host directory for its own files, if they are not in memory.
    #[napi(ts_type = "DiskRequest | undefined")]
    pub disk: Option<DiskRequest>,
    /// The host directories that the VM shows.
    #[napi(ts_type = "readonly MountRequest[]")]
    pub mounts: Vec<MountRequest>,
    /// Paths of empty directories to create.
    #[napi(ts_type = "readonly string[]")]
    pub directories: Vec<String>,
    /// The host settings that the VM shows, and those that it hides.
    pub host: HostFilesRequest,
    /// Commands to add: names, and their paths in the VM.
    #[napi(ts_type = "readonly [name: string, path: string][]")]
    pub bins: Pairs,
    /// The network that programs can reach.
    pub network: NetworkName,
    /// The destinations, if the network is "list".
    #[napi(ts_type = "readonly AllowRequest[]")]
    pub allow: Vec<AllowRequest>,
    /// The environment variables of every process.
    #[napi(ts_type = "readonly [name: string, value: string][]")]
    pub env: Pairs,
    /// The VM's limits.
    pub limits: LimitRequest,
    /// The level at which init logs.
    #[napi(ts_type = "string | undefined")]
    pub log: Option<String>,
    /// The ids for a root; none for a VM without one.
    #[napi(ts_type = "IdsName | undefined")]
    pub ids: Option<IdsName>,
    /// The user that programs run as by default.
    #[napi(ts_type = "string | undefined")]
    pub user: Option<String>,
}

/// The ids for a VM's root.
#[napi(string_enum = "lowercase")]
pub enum IdsName {
    /// The best that this host has.
    Best,
    /// A single id.
    Single,
    /// A range.
    Range,
}

/// A level of isolation.
#[napi(string_enum = "lowercase")]
pub enum IsolationName {
    /// Its own namespaces.
    Namespaces,
    /// Landlock only.
    Landlock,
    /// No isolation.
    None,
}

/// The network that programs can reach.
#[napi(string_enum = "lowercase")]
pub enum NetworkName {
    /// Only their own loopback.
    None,
    /// The host's network.
    Host,
    /// All public destinations.
    Public,
    /// The listed destinations.
    List,
}

/// Where a VM's own files are on the host.
#[napi(object, object_to_js = false)]
pub struct DiskRequest {
    /// The directory of the disks.
    pub directory: String,
    /// The name of one that is kept.
    #[napi(ts_type = "string | undefined")]
    pub name: Option<String>,
}

/// A host directory that the VM shows.
#[napi(object, object_to_js = false)]
pub struct MountRequest {
    /// The path in the VM.
    pub path: String,
    /// The path on the host.
    pub host_path: String,
    /// Whether writes are refused.
    pub read_only: bool,
    /// Whether it is software, in which links are not followed.
    pub software: bool,
    /// The places in it that are read-only: paths below it, with a slash at the end for a directory.
    #[napi(ts_type = "readonly string[]")]
    pub protect: Vec<String>,
}

/// The host settings and data that a VM shows and hides.
#[napi(object, object_to_js = false)]
pub struct HostFilesRequest {
    /// Paths below /etc to show.
    #[napi(ts_type = "readonly string[]")]
    pub etc: Vec<String>,
    /// Paths to hide.
    #[napi(ts_type = "readonly string[]")]
    pub hide: Vec<String>,
}

/// An allowed destination: a name, the subdomains of a name, or a range of addresses.
#[napi(object, object_to_js = false)]
pub struct AllowRequest {
    /// A host name.
    #[napi(ts_type = "string | undefined")]
    pub name: Option<String>,
    /// A domain whose subdomains are meant.
    #[napi(ts_type = "string | undefined")]
    pub subdomains_of: Option<String>,
    /// An address.
    #[napi(ts_type = "string | undefined")]
    pub address: Option<String>,
    /// How many leading bits of the address must match.
    #[napi(ts_type = "number | undefined")]
    pub prefix_length: Option<u8>,
    /// The only allowed port; all ports if it is missing.
    #[napi(ts_type = "number | undefined")]
    pub port: Option<u16>,
}

/// The VM's limits.
#[napi(object, object_to_js = false)]
pub struct LimitRequest {
    /// The number of processes.
    pub pids: u32,
    /// The number of open files of a process.
    pub open_files: u32,
    /// The size of private files, in bytes.
    pub disk_bytes: f64,
    /// The number of terminals.
    pub terminals: u32,
    /// The output kept of each process, in bytes.
    pub replay_bytes: u32,
    /// The memory, in bytes.
    #[napi(ts_type = "number | undefined")]
    pub memory_bytes: Option<f64>,
    /// The number of processor cores.
    #[napi(ts_type = "number | undefined")]
    pub cpus: Option<f64>,
}

impl From<IdsName> for WantedIds {
    fn from(name: IdsName) -> Self {
        match name {
            IdsName::Best => Self::Best,
            IdsName::Single => Self::Single,
            IdsName::Range => Self::Range,
        }
    }
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

fn place(path: String) -> ProtectedPlace {
    match path.strip_suffix('/') {
        Some(directory) => ProtectedPlace {
            path: directory.to_owned(),
            is_directory: true,
        },
        None => ProtectedPlace {
            path,
            is_directory: false,
        },
    }
}

impl From<DiskRequest> for DiskOptions {
    fn from(disk: DiskRequest) -> Self {
        Self {
            directory: disk.directory.into(),
            name: disk.name,
        }
    }
}

impl From<MountRequest> for Mount {
    fn from(mount: MountRequest) -> Self {
        Self {
            path: mount.path,
            host_path: mount.host_path.into(),
            read_only: mount.read_only,
            software: mount.software,
            protect: mount.protect.into_iter().map(place).collect(),
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
    /// Converts it for the host; also returns how many bytes of output each process keeps.
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
            disk: self.disk.map(Into::into),
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
            layers: Layers::default(),
            log: self.log,
            ids: self.ids.map(WantedIds::from),
            user: self.user,
        };
        Ok((options, replay_bytes))
    }
}

/// The options of `exec` and `execFile`.
#[napi(object, object_to_js = false)]
pub struct ExecOptions {
    /// Environment variables.
    #[napi(ts_type = "readonly [name: string, value: string][]")]
    pub env: Pairs,
    /// The working directory.
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
    /// The timeout in milliseconds; 0 for none.
    pub timeout: f64,
    /// The number of the signal that asks the program to end at its timeout, before everything is killed.
    #[napi(ts_type = "number | undefined")]
    pub kill_signal: Option<i32>,
    /// How long the program then has to end, in milliseconds.
    pub kill_grace: f64,
    /// The program's own name for it, instead of the one that it was called by.
    #[napi(ts_type = "string | undefined")]
    pub argv0: Option<String>,
    /// How many of the first bytes of each stream the result keeps.
    pub head_bytes: u32,
    /// How many of the last bytes it keeps of those after them.
    pub tail_bytes: u32,
    /// Whether the result has the output as bytes instead of text.
    pub bytes: bool,
    /// Whether output is also sent as it arrives.
    pub streams: bool,
    /// The user that it runs as; the VM's default user if it is missing.
    #[napi(ts_type = "string | undefined")]
    pub user: Option<String>,
}

/// The options of `createContext`.
#[napi(object, object_to_js = false)]
pub struct ContextOptions {
    /// The shell's program.
    #[napi(ts_type = "string | undefined")]
    pub shell: Option<String>,
    /// Environment variables.
    #[napi(ts_type = "readonly [name: string, value: string][] | undefined")]
    pub env: Option<Pairs>,
    /// The user that it runs as; the VM's default user if it is missing.
    #[napi(ts_type = "string | undefined")]
    pub user: Option<String>,
    /// The working directory.
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
}

/// The options of `exec` in a context.
#[napi(object, object_to_js = false)]
pub struct ContextExecOptions {
    /// Milliseconds; 0 for no timeout.
    pub timeout: f64,
    /// How many of the first bytes of each stream the result keeps.
    pub head_bytes: u32,
    /// How many of the last bytes it keeps of those after them.
    pub tail_bytes: u32,
    /// Whether the result has the output as bytes instead of text.
    pub bytes: bool,
    /// Whether output is also sent as it comes.
    pub streams: bool,
}

/// The options of `spawn`.
#[napi(object, object_to_js = false)]
pub struct SpawnOptions {
    /// Environment variables.
    #[napi(ts_type = "readonly [name: string, value: string][]")]
    pub env: Pairs,
    /// The working directory.
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
    /// The timeout in milliseconds; 0 for none.
    pub timeout: f64,
    /// The number of the signal that asks the program to end at its timeout, before everything is killed.
    #[napi(ts_type = "number | undefined")]
    pub kill_signal: Option<i32>,
    /// How long the program then has to end, in milliseconds.
    pub kill_grace: f64,
    /// The program's own name for it, instead of the one that it was called by.
    #[napi(ts_type = "string | undefined")]
    pub argv0: Option<String>,
    /// The numbers of the pipes that the program reads beside its standard input.
    #[napi(ts_type = "readonly number[]")]
    pub inputs: Vec<u8>,
    /// The numbers of the pipes that the program writes to beside its standard outputs.
    #[napi(ts_type = "readonly number[]")]
    pub outputs: Vec<u8>,
    /// The user that it runs as; the VM's default user if it is missing.
    #[napi(ts_type = "string | undefined")]
    pub user: Option<String>,
}

/// The options of `openShell`.
#[napi(object, object_to_js = false)]
pub struct ShellOptions {
    /// Environment variables.
    #[napi(ts_type = "readonly [name: string, value: string][]")]
    pub env: Pairs,
    /// The working directory.
    #[napi(ts_type = "string | undefined")]
    pub cwd: Option<String>,
    /// The number of columns of the terminal.
    pub cols: u16,
    /// The number of rows of the terminal.
    pub rows: u16,
    /// Whether its screen is drawn from its first byte on.
    pub screen: bool,
    /// The user that it runs as; the VM's default user if it is missing.
    #[napi(ts_type = "string | undefined")]
    pub user: Option<String>,
}

/// Converts a timeout in milliseconds; 0 means none.
pub fn timeout(milliseconds: f64, kill_signal: Option<i32>, kill_grace: f64) -> Option<Timeout> {
    if milliseconds <= 0.0 {
        return None;
    }
    let grace = Duration::try_from_secs_f64(kill_grace / 1000.0).unwrap_or_default();
    Some(Timeout {
        after: Duration::try_from_secs_f64(milliseconds / 1000.0).ok()?,
        request: kill_signal.map(|signal| EndRequest { signal, grace }),
    })
}

/// The command for a command line: a program and its arguments, separated by NULs.
pub fn command(
    command_line: &str,
    env: Pairs,
    cwd: Option<String>,
    argv0: Option<String>,
    user: Option<String>,
) -> Command {
    let mut parts = command_line.split('\0').map(str::to_owned);
    Command {
        program: parts.next().unwrap_or_default(),
        arguments: parts.collect(),
        env,
        cwd,
        argv0,
        user,
    }
}

/// The pipes of a program beside its standard streams.
pub fn pipes(inputs: &[u8], outputs: &[u8]) -> MorePipes {
    let inputs = inputs.iter().map(|number| (*number, PipeDirection::Input));
    let outputs = outputs.iter().map(|number| (*number, PipeDirection::Output));
    inputs
        .chain(outputs)
        .fold(MorePipes::default(), |pipes, (number, direction)| {
            pipes.with(number, direction)
        })
}
