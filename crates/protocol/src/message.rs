//! The messages. Numbers named `call` are the host's, unique in a VM's life; every reply bears its request's.
//!
//! Init answers in any order. A request that init cannot carry out is answered with [`Reply::Failed`], never dropped.

use serde::{Deserialize, Serialize};

/// The host's number for one request; also the name of the process family that a [`Request::Spawn`] starts.
pub type Call = u64;

/// Where in the message's list of attached descriptors one is.
pub type Attached = u8;

/// From host to init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start another init. Any number of these may come before a [`Request::Boot`], and none after it. Attached: the other's
    /// end of its own control socket, on which it then waits, and the cgroup if there is to be one. Answered with
    /// [`Reply::Launched`] or [`Reply::LaunchFailed`].
    Launch(Launch),
    /// Make a VM. Once at most. Answered with [`Reply::Ready`] or [`Reply::BootFailed`].
    Boot(Box<Boot>),
    /// A VM that was booted ahead becomes somebody's: the first request after [`Request::Boot`], and only with
    /// [`Isolation::Namespaces`]. Not answered.
    Adopt {
        /// What [`Boot::env`] was not.
        env: Vec<(String, String)>,
    },
    /// Start a program. Answered with [`Reply::Spawned`], and later [`Reply::Exited`], or with [`Reply::Failed`].
    Spawn(Box<Spawn>),
    /// Send a signal. Answered with [`Reply::Done`]; a target that has exited is done as well.
    Signal {
        /// This request's number.
        call: Call,
        /// Whom.
        target: Target,
        /// The signal's number, 1 to 64.
        signal: i32,
    },
    /// SIGKILL the target and everything it started. Answered with [`Reply::Done`] when none of it is left.
    Kill {
        /// This request's number.
        call: Call,
        /// Whom. An exited family is still searched for what it left behind.
        target: Target,
    },
    /// Hang up the terminal session of a spawned shell: SIGHUP and SIGCONT to every process of the session, SIGKILL after
    /// two seconds to what is left. Answered with [`Reply::Done`] when none of it is left.
    HangUp {
        /// This request's number.
        call: Call,
        /// The shell's number.
        family: Call,
    },
    /// Make a TCP connection in the VM's network to a port of its loopback. Answered with [`Reply::Connected`], which has
    /// the socket attached; it may still be connecting.
    Connect {
        /// This request's number.
        call: Call,
        /// The port, 1 to 65535.
        port: u16,
        /// To `::1` rather than `127.0.0.1`.
        ipv6: bool,
    },
    /// One step on the VM's files, done as the VM's user. Answered with the variant that [`FileStep`] names.
    File {
        /// This request's number.
        call: Call,
        /// What to do.
        step: FileStep,
    },
}

impl Request {
    /// What it asks, for a log: nothing of what it holds.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::Boot(_) => "boot",
            Self::Adopt { .. } => "adopt",
            Self::Spawn(_) => "spawn",
            Self::Signal { .. } => "signal",
            Self::Kill { .. } => "kill",
            Self::HangUp { .. } => "hang up",
            Self::Connect { .. } => "connect",
            Self::File { .. } => "file",
        }
    }
}

/// Whom a signal is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// What a [`Request::Spawn`] of that number started. Signals reach the group that its process leads, or else that
    /// process alone, and nothing once it has exited.
    Family(Call),
    /// Any process of the VM by pid; signals reach the group that it leads, or else that process alone. Init's own pid,
    /// and one that does not exist, is ESRCH.
    Pid(u32),
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
    /// A loopback of its own, with a socket on it that the host serves: attached to [`Reply::Ready`] behind `/proc`, it
    /// listens on `127.0.0.1` at this port.
    Served {
        /// The port, 1024 to 65535.
        port: u16,
    },
    /// The host's.
    Host,
}

/// Where and as whom another init starts. What fails of it after the start is told as [`Reply::BootFailed`], on the other's
/// socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Launch {
    /// `CLONE_NEW*` flags, or 0 for the host's own namespaces.
    pub namespaces: i32,
    /// Whether a directory of the cgroup v2 hierarchy to start in is attached.
    pub cgroup: bool,
    /// Whether it takes a cgroup namespace, of which that directory is the root.
    pub cgroup_namespace: bool,
    /// The ids that it maps itself; none where the host, being root, does it.
    pub own_map: Option<OwnMap>,
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

/// What init sets up before it says [`Reply::Ready`].
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
    /// A directory of the host's that is the root, below what `root` puts into it. It is never written to: what is
    /// changed goes to a layer of the VM's own, where the kernel can lay one over it, and is refused elsewhere.
    pub rootfs: Option<BindSource>,
    /// With [`Isolation::Landlock`], and only then: what programs reach.
    pub walls: Option<Walls>,
    /// What the root file system is made of, in the order it is made. Parent folders are made as needed.
    pub root: Vec<RootEntry>,
    /// The environment that every process starts from; none for a VM that is booted ahead, which [`Request::Adopt`] brings
    /// one.
    pub env: Option<Vec<(String, String)>>,
    /// Bounds for every process.
    pub limits: Limits,
    /// The VM's cgroups.
    pub cgroups: Cgroups,
}

/// What init has of the host's cgroups.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cgroups {
    /// A directory of the cgroup v2 hierarchy, attached, in which init makes one for each family.
    pub families: Option<Attached>,
    /// Where what the kernel kills for want of memory is counted, if the VM's memory is bounded.
    pub memory: Option<MemoryCount>,
    /// `tasks` files of cgroup v1, attached, which init joins by writing 0 to each: all that it starts is then in there.
    pub joins: Vec<Attached>,
}

/// Where each family's killed processes are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum MemoryCount {
    /// In the family's directory of [`Cgroups::families`].
    InFamilies,
    /// In one that init makes for each family in this directory, attached, of the memory hierarchy of cgroup v1.
    Directory(Attached),
}

/// What programs reach of the host's files where Landlock is what walls them off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Walls {
    /// The folder of the VM's own files, which it may do everything with.
    pub folder: String,
    /// Files and folders of the host that it may read and execute. Those that are not there are passed over.
    pub readable: Vec<String>,
}

/// One entry of the root file system. Paths are absolute, of normal components.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RootEntry {
    /// An empty, read-only folder.
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
    /// A symbolic link.
    Symlink {
        /// Where.
        path: String,
        /// What it points to.
        target: String,
    },
    /// A file or folder of the host.
    Bind {
        /// Where.
        path: String,
        /// What is shown there.
        source: BindSource,
        /// Whether writing to it, and to whatever is mounted below it, is refused.
        read_only: bool,
    },
    /// A file or folder of the host that the VM's owner asked for, as with a bind. Links on the way to it are not
    /// followed, for an earlier VM may have left them; what fails names its path.
    Mount {
        /// Where.
        path: String,
        /// What is shown there.
        source: BindSource,
        /// Whether writing to it, and to whatever is mounted below it, is refused.
        read_only: bool,
    },
    /// A folder of the VM's own, writable, on the one tmpfs that all of these share.
    Private {
        /// Where.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
}

impl RootEntry {
    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &str {
        match self {
            Self::Directory { path }
            | Self::File { path, .. }
            | Self::Symlink { path, .. }
            | Self::Bind { path, .. }
            | Self::Mount { path, .. }
            | Self::Private { path, .. } => path,
        }
    }
}

/// What a bind shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum BindSource {
    /// A path of the host's.
    Path(String),
    /// A detached mount, attached (`open_tree(2)` with `OPEN_TREE_CLONE`).
    Mount(Attached),
    /// A path of the host's without links in it that must still lead to what is attached, else ESTALE. For a host that may
    /// not clone mounts itself.
    Opened {
        /// The path's bytes.
        path: Vec<u8>,
        /// What it led to when the host looked (`O_PATH`).
        fd: Attached,
    },
}

/// Bounds that init sets.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Limits {
    /// Processes and threads of the VM's user.
    pub pids: u64,
    /// Open files of a process.
    pub open_files: u64,
    /// Bytes of the tmpfs that private folders share.
    pub disk_bytes: u64,
}

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// This request's number, and the family's.
    pub call: Call,
    /// The program: a path if it holds a slash, else looked up on the PATH of its environment.
    pub program: String,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Added to [`Boot::env`]; a name that stands there is replaced.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// What its standard descriptors are.
    pub stdio: Stdio,
    /// Whether [`Reply::Exited`] lists what is left of the family.
    pub report_background: bool,
}

/// The standard descriptors of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// Standard input at end of file; pipes for the rest. Attached to [`Reply::Spawned`]: stdout, stderr.
    Output,
    /// Three pipes. Attached to [`Reply::Spawned`]: stdin, stdout, stderr.
    Pipes,
    /// A terminal of the VM's own, of which the program's session is the owner. Attached: its master side.
    Terminal {
        /// Columns, 1 to 65535.
        cols: u16,
        /// Rows, 1 to 65535.
        rows: u16,
    },
}

/// From init to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The sandbox stands, and nothing untrusted has run in it. Attached: the VM's `/proc`, and with
    /// [`Network::Served`] the listening socket.
    Ready {
        /// The pid of init's deputy, where it has one.
        deputy: Option<u32>,
    },
    /// Init has a new deputy: the last one was killed from inside.
    Deputy {
        /// Its pid.
        pid: u32,
    },
    /// The sandbox cannot be made. Init exits.
    BootFailed {
        /// The step, in words: "mount a tmpfs for the root".
        step: String,
        /// What the kernel answered.
        errno: i32,
        /// The path of the [`RootEntry::Mount`] that it was about, if it was about one.
        path: Option<String>,
    },
    /// The program runs. Attached: what [`Stdio`] says.
    Spawned {
        /// Of the [`Request::Spawn`].
        call: Call,
        /// In the VM's pid namespace.
        pid: u32,
    },
    /// A spawned program has ended and is reaped.
    Exited {
        /// Of the [`Request::Spawn`].
        call: Call,
        /// The exit status, or 128 + the signal.
        code: i32,
        /// The signal that ended it, or 0.
        signal: i32,
        /// Whether the kernel killed it for want of memory, or a part of it whose end it passes on as its own.
        oom: bool,
        /// What it used, with the children it waited for (`getrusage(2)`).
        usage: Usage,
        /// What is left of the family, where it was asked for.
        background: Vec<Background>,
    },
    /// A request without a result of its own is carried out.
    Done {
        /// The request's number.
        call: Call,
    },
    /// A request was not carried out.
    Failed {
        /// The request's number.
        call: Call,
        /// Why.
        error: Failure,
    },
    /// Attached: a TCP socket, connected or connecting.
    Connected {
        /// The request's number.
        call: Call,
    },
    /// Attached: the opened file or directory.
    Opened {
        /// The request's number.
        call: Call,
    },
    /// A file's attributes.
    Attributes {
        /// The request's number.
        call: Call,
        /// As `statx(2)` gives them.
        attributes: Attributes,
    },
    /// Another init runs. Attached: a descriptor for its process, whose parent is the host.
    Launched {
        /// Its pid on the host.
        pid: i32,
    },
    /// No other init was started.
    LaunchFailed {
        /// What the kernel answered.
        errno: i32,
    },
}

/// An operating system call that failed inside.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kernel's number.
    pub errno: i32,
    /// The call's name, as in section 2 of the manual.
    pub syscall: String,
    /// The path it was about, or nothing.
    pub path: Option<String>,
}

/// What a process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time outside of the kernel, µs.
    pub user_us: u64,
    /// Processor time inside of the kernel, µs.
    pub system_us: u64,
    /// The largest resident set of any one process, KiB.
    pub max_rss_kib: u64,
}

/// A process that outlived the command that started it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Background {
    /// In the VM's pid namespace.
    pub pid: u32,
    /// Its command line, joined by blanks; bytes that are not UTF-8 replaced. At most 4 KiB.
    pub command: String,
}

/// One system call on the VM's files, or close to it. A path that was listed inside may be any bytes. `directory` is an attached descriptor that `path` is relative to;
/// without it `path` is absolute.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum FileStep {
    /// Open, answered with [`Reply::Opened`]. Never blocks on a FIFO, never follows a link into `/proc`'s magic links.
    Open {
        /// What `path` is relative to.
        directory: Option<Attached>,
        /// The file.
        path: Vec<u8>,
        /// For what.
        mode: OpenMode,
    },
    /// Attributes, of the link itself if `follow` is false. Answered with [`Reply::Attributes`].
    Stat {
        /// What `path` is relative to.
        directory: Option<Attached>,
        /// The file.
        path: String,
        /// Whether a final symbolic link is followed.
        follow: bool,
    },
    /// Make a folder of mode 0777 less the umask. Answered with [`Reply::Done`].
    Mkdir {
        /// The folder.
        path: String,
        /// Whether missing parents are made too and an existing folder is no error.
        recursive: bool,
    },
    /// Rename. Answered with [`Reply::Done`].
    Rename {
        /// The old path.
        from: String,
        /// The new path.
        to: String,
    },
    /// Remove a name. Answered with [`Reply::Done`].
    Remove {
        /// What `path` is relative to.
        directory: Option<Attached>,
        /// The name.
        path: Vec<u8>,
        /// Whether it is a folder (which must be empty).
        is_directory: bool,
    },
}

/// What a file is opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum OpenMode {
    /// Reading.
    Read,
    /// Writing, emptied first, made if it is missing (mode 0666 less the umask); `parents` makes missing folders too.
    Write {
        /// Whether missing folders on the way are made.
        parents: bool,
    },
    /// Listing; anything but a directory is ENOTDIR, and a final symbolic link is followed only if `follow` is true.
    Directory {
        /// Whether a final symbolic link is followed.
        follow: bool,
    },
}

/// A file's attributes, as `statx(2)` gives them. Times are nanoseconds since the Unix epoch.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs, reason = "the names are stat(2)'s own")]
pub struct Attributes {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
    pub nlink: u32,
    pub ino: u64,
    pub size: u64,
    pub blocks: u64,
    pub dev: u64,
    pub rdev: u64,
    pub atime_ns: i64,
    pub mtime_ns: i64,
    pub ctime_ns: i64,
    pub birthtime_ns: i64,
}
