//! The messages. Numbers named `call` are the host's, unique in a VM's life; every reply bears its request's.
//!
//! Init answers in any order. A request that init cannot carry out is answered with [`Reply::Failed`], never dropped.

mod boot;
mod file;
mod hold;
mod program;
mod step;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use boot::{
    BindSource, Boot, CgroupSetting, Cgroups, Hardware, Isolation, LandlockFiles, Launch, Limits,
    MemoryCount, Network, OwnMap, ReplacedFile, RootEntry, ShownCgroup,
};
pub use file::{Attributes, FileStep, OpenMode, is_kernel_interface};
pub use hold::{Bytes, HeldEntry, Hold};
pub use program::{Background, Exit, Spawn, Stdio, Usage};
pub use step::BootStep;

/// The host's number for one request; also the name of the process family that a [`Request::Spawn`] starts.
pub type Call = u64;

/// Where in the message's list of attached descriptors one is.
pub type Attached = u8;

/// From host to init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start another init. Any number of these may come before a [`Request::Boot`], and none after it. Attached: the other's
    /// end of its own control socket, on which it then waits, and the cgroup files that the launch names. Answered with
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
    /// Start a program. Answered with [`Reply::Spawned`], and later [`Reply::Exited`]; or with [`Reply::Ran`], if it is
    /// [brief](Spawn::brief); or with [`Reply::Failed`].
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
    /// Wait until nothing is left of a program and of what it started. Answered with [`Reply::Done`] then; also when init
    /// does not know that number, or after a [`Request::StopAwaiting`].
    AwaitEnd {
        /// This request's number.
        call: Call,
        /// The program's number.
        family: Call,
        /// The program's pid.
        leader: u32,
    },
    /// Answer a [`Request::AwaitEnd`] now, if it is not answered yet. Not answered itself.
    StopAwaiting {
        /// The number of the [`Request::AwaitEnd`].
        call: Call,
    },
    /// Make a TCP connection in the VM's network to an address of its loopback. Answered with [`Reply::Connected`], which
    /// has the socket attached; it may still be connecting. Another address fails with EADDRNOTAVAIL.
    Connect {
        /// This request's number.
        call: Call,
        /// The address, and a port from 1 to 65535.
        address: SocketAddr,
    },
    /// One step on the VM's files, done as the VM's user. Answered with the variant that [`FileStep`] names.
    File {
        /// This request's number.
        call: Call,
        /// What to do.
        step: FileStep,
    },
    /// Describe the processors, for the `/sys` of VMs. In place of a [`Request::Boot`], in a user and mount namespace of its own,
    /// and only as the last request: init ends when it has answered with [`Reply::HardwareDescribed`] or [`Reply::BootFailed`].
    DescribeHardware {
        /// Empty directories to make in it: paths below `/sys`.
        directories: Vec<String>,
    },
    /// Make a tree of files for many VMs, and hand it out from then on, in place of a [`Request::Boot`]. Answered with [`Reply::Held`] or
    /// [`Reply::BootFailed`].
    Hold(Box<Hold>),
    /// Hand the tree out, after a [`Request::Hold`]. Answered with [`Reply::Held`] or [`Reply::BootFailed`].
    HandOut,
}

impl Request {
    /// What it asks, for a log: nothing of what it holds.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::DescribeHardware { .. } => "describe the hardware",
            Self::Hold(_) => "hold",
            Self::HandOut => "hand out",
            Self::Boot(_) => "boot",
            Self::Adopt { .. } => "adopt",
            Self::Spawn(_) => "spawn",
            Self::Signal { .. } => "signal",
            Self::Kill { .. } => "kill",
            Self::HangUp { .. } => "hang up",
            Self::AwaitEnd { .. } => "await an end",
            Self::StopAwaiting { .. } => "stop awaiting",
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
        /// What init was doing.
        step: BootStep,
        /// What the kernel answered.
        errno: i32,
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
        /// How.
        exit: Exit,
    },
    /// A program ran, has ended and is reaped. Attached: what [`Stdio`] says.
    Ran {
        /// Of the [`Request::Spawn`].
        call: Call,
        /// In the VM's pid namespace, free by now.
        pid: u32,
        /// How it ended.
        exit: Exit,
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
        /// Whether that was about the ids of [`Launch::take_ids`].
        ids: bool,
    },
    /// The other init has joined the cgroups and taken the namespace that its launch names. On its own socket, if it is to
    /// [report](Launch::reports) that.
    Settled,
    /// Attached: the mount of what VMs show as `/sys`.
    HardwareDescribed {
        /// Whether it is one that each VM clones. Otherwise each of those that are attached serves one VM.
        can_clone: bool,
    },
    /// The tree stands. Attached to the answer of a [`Request::HandOut`]: detached, read-only mounts of [`Hold::tops`], in that order.
    Held,
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

impl Failure {
    /// The call by which init makes a cgroup for a program. `ENOENT` and `ENODEV` of it: the VM's own cgroup, in which that was to
    /// be, was removed on the host.
    pub const PLACE: &str = "mkdirat";
}
