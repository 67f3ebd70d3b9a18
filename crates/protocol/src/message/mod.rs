//! The messages between host and init. The host assigns the numbers named `call`, which are unique in a VM's life;
//! every reply contains its request's number.
//!
//! Init may answer in any order. A request that init cannot carry out is answered with [`Reply::Failed`], never
//! dropped.

mod boot;
mod file;
mod hold;
mod keep;
mod map_ids;
mod measures;
mod merge;
mod pipes;
mod program;
mod step;

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

pub use boot::{
    BindSource, Boot, CgroupSetting, Cgroups, Hardware, InnerIds, Isolation, LandlockFiles, Launch, Layers,
    Limits, MemoryCount, Network, OwnDisk, OwnMap, ReplacedFile, RootEntry, ShownCgroup,
};
pub use file::{
    Attributes, Change, Existing, FileStep, NewEntry, OpenMode, Time, WriteMode, is_kernel_interface,
};
pub use hold::{Bytes, HeldEntry, Hold};
pub use keep::{Keep, KeptDirectory, ProtectedPlace, ReadOnlyPlace, Unprotectable};
pub use map_ids::{MapIds, MapProgram};
pub use measures::{Disk, Measures};
pub use merge::MergeLayers;
pub use pipes::{MorePipes, PIPE_NUMBERS, PipeDirection};
pub use program::{Exit, Interrupt, KnownProcess, ProgramUser, Spawn, Stdio, Usage, UserNumbers};
pub use step::BootStep;

/// The host's number for one request; also the id of the family that a [`Request::Spawn`] starts.
pub type Call = u64;

/// The index of a descriptor in the message's list of attached descriptors.
pub type Attached = u8;

/// A request from host to init.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Request {
    /// Start another init. Any number of these may come before a [`Request::Boot`], and none after it. Attached: the
    /// new init's end of its own control socket, on which it then waits, and the cgroup files that the launch names.
    /// Answered with [`Reply::Launched`] or [`Reply::LaunchFailed`].
    Launch(Launch),
    /// Make a VM; at most once. Answered with [`Reply::Ready`] or [`Reply::BootFailed`].
    Boot(Box<Boot>),
    /// A prebooted VM is taken: the first request after [`Request::Boot`], and only with [`Isolation::Namespaces`]. Not
    /// answered.
    Adopt {
        /// The environment that [`Boot::env`] did not contain.
        env: Vec<(String, String)>,
    },
    /// Freeze the cgroup of every family, or let all run again. Answered with [`Reply::Done`] once all are frozen, or with EAGAIN
    /// while some are not yet; then the request is repeated. While families are frozen, no program starts.
    Freeze {
        /// This request's number.
        call: Call,
        /// Whether to freeze them.
        frozen: bool,
    },
    /// Start a program. Answered with [`Reply::Spawned`], and later [`Reply::Exited`]; or with [`Reply::Ran`], if it is
    /// [brief](Spawn::brief); or with [`Reply::Failed`].
    Spawn(Box<Spawn>),
    /// Send a signal. Answered with [`Reply::Done`], also if the target has exited.
    Signal {
        /// This request's number.
        call: Call,
        /// The receiver.
        target: Target,
        /// The signal's number, 1 to 64.
        signal: i32,
    },
    /// Kill the target and everything that it started with SIGKILL. Answered with [`Reply::Done`] when none of it is
    /// left.
    Kill {
        /// This request's number.
        call: Call,
        /// The target. Of a family that has exited, the processes that it left are killed.
        target: Target,
    },
    /// End what runs in a context, but not what ran in it before. Answered with [`Reply::Done`] when none of it is left.
    Interrupt(Box<Interrupt>),
    /// Hang up the terminal session of a spawned shell: SIGHUP and SIGCONT to every process of the session, and after
    /// two seconds SIGKILL to those that are left. Answered with [`Reply::Done`] when none of them is left.
    HangUp {
        /// This request's number.
        call: Call,
        /// The shell's number.
        family: Call,
    },
    /// Wait until no process of a program's family is left. Answered with [`Reply::Done`] then, and also if init does
    /// not know that number, or after a [`Request::StopAwaiting`].
    AwaitEnd {
        /// This request's number.
        call: Call,
        /// The program's number.
        family: Call,
        /// The program's pid.
        leader: u32,
    },
    /// Answer a [`Request::AwaitEnd`] now, if it is not answered yet. This request is not answered itself.
    StopAwaiting {
        /// The number of the [`Request::AwaitEnd`].
        call: Call,
    },
    /// Give a [`Request::Spawn`] up if its program does not run yet: it then fails with ECANCELED and [`Failure::START`].
    /// This request is not answered itself.
    StopStart {
        /// The number of the [`Request::Spawn`].
        call: Call,
    },
    /// Make a TCP connection in the VM's network to an address of its loopback. Answered with [`Reply::Connected`],
    /// with the socket attached, which may still be connecting. Another address fails with EADDRNOTAVAIL.
    Connect {
        /// This request's number.
        call: Call,
        /// The address, and a port from 1 to 65535.
        address: SocketAddr,
    },
    /// Report what the VM has used. Answered with [`Reply::Measured`] at once.
    Measure {
        /// This request's number.
        call: Call,
    },
    /// Send the VM's layer: everything that it has written since its boot, where a boot keeps it. Answered with
    /// [`Reply::Layer`], or EOPNOTSUPP where the kernel cannot clone a mount that is attached nowhere (before Linux 6.15).
    TakeLayer {
        /// This request's number.
        call: Call,
    },
    /// Carry out one step on the VM's files as the VM's user. Answered with the variant that [`FileStep`] names.
    File {
        /// This request's number.
        call: Call,
        /// The step.
        step: FileStep,
    },
    /// Describe the processors, for the `/sys` of VMs. Sent instead of a [`Request::Boot`] to an init in its own user
    /// and mount namespaces, as its last request: init ends when it has answered with [`Reply::HardwareDescribed`] or
    /// [`Reply::BootFailed`].
    DescribeHardware {
        /// Empty directories to add: paths below `/sys`.
        directories: Vec<String>,
    },
    /// Make a tree of files for many VMs, and send mounts of it from then on; instead of a [`Request::Boot`]. Answered
    /// with [`Reply::Held`] or [`Reply::BootFailed`].
    Hold(Box<Hold>),
    /// Send mounts of the tree, after a [`Request::Hold`]. Answered with [`Reply::Held`] or [`Reply::BootFailed`].
    HandOut,
    /// Check protected places in host directories, and hold those that do not exist with placeholders, until this
    /// socket is closed and the VM has ended; instead of a [`Request::Boot`], in the host's own namespaces. Answered with
    /// [`Reply::Kept`] or [`Reply::NotKept`].
    Keep(Keep),
    /// Map the ids of a process; instead of a [`Request::Boot`], in the host's own namespaces. Answered with
    /// [`Reply::IdsMapped`] or [`Reply::IdsNotMapped`], and then the process ends.
    MapIds(MapIds),
    /// Make one layer of several; instead of a [`Request::Boot`], to an init in its own user and mount namespaces. Answered with
    /// [`Reply::Merged`] or [`Reply::BootFailed`], and then init ends.
    MergeLayers(MergeLayers),
}

impl Request {
    /// The request's name for a log, without its contents.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::Launch(_) => "launch",
            Self::DescribeHardware { .. } => "describe the hardware",
            Self::Hold(_) => "hold",
            Self::HandOut => "hand out",
            Self::Keep(_) => "keep",
            Self::MapIds(_) => "map ids",
            Self::MergeLayers(_) => "merge layers",
            Self::Boot(_) => "boot",
            Self::Adopt { .. } => "adopt",
            Self::Freeze { .. } => "freeze",
            Self::Spawn(_) => "spawn",
            Self::Signal { .. } => "signal",
            Self::Kill { .. } => "kill",
            Self::Interrupt(_) => "interrupt",
            Self::HangUp { .. } => "hang up",
            Self::AwaitEnd { .. } => "await an end",
            Self::StopAwaiting { .. } => "stop awaiting",
            Self::StopStart { .. } => "stop a start",
            Self::Connect { .. } => "connect",
            Self::Measure { .. } => "measure",
            Self::TakeLayer { .. } => "take the layer",
            Self::File { .. } => "file",
        }
    }
}

/// The receiver of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// What a [`Request::Spawn`] with that number started. A signal goes to the process group that its process leads
    /// or, if it leads none, to that process only; to none once it has exited.
    Family(Call),
    /// Any process of the VM, by its pid. A signal goes to the group that it leads or, if it leads none, only to the
    /// process. Init's own pid, and one that does not exist, are ESRCH.
    Pid(u32),
}

/// A reply from init to host.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum Reply {
    /// The sandbox is complete, and nothing untrusted has run in it yet. Attached: the VM's `/proc` and, with
    /// [`Network::Served`], the listening socket.
    Ready {
        /// The pids of the processes that work for init.
        helpers: Vec<u32>,
    },
    /// Other processes work for init than before.
    Helpers {
        /// All their pids.
        pids: Vec<u32>,
    },
    /// The sandbox could not be made. Init exits.
    BootFailed {
        /// The step that failed.
        step: BootStep,
        /// The kernel's error.
        errno: i32,
    },
    /// The program runs. Attached: the descriptors that [`Stdio`] describes.
    Spawned {
        /// The number of the [`Request::Spawn`].
        call: Call,
        /// Its pid in the VM's pid namespace.
        pid: u32,
    },
    /// A spawned program has ended and was reaped.
    Exited {
        /// The number of the [`Request::Spawn`].
        call: Call,
        /// How it ended.
        exit: Exit,
    },
    /// A program ran, has ended and was reaped. Attached: the descriptors that [`Stdio`] describes.
    Ran {
        /// The number of the [`Request::Spawn`].
        call: Call,
        /// The pid that it had in the VM's pid namespace.
        pid: u32,
        /// How it ended.
        exit: Exit,
    },
    /// A request without another result was carried out.
    Done {
        /// The request's number.
        call: Call,
    },
    /// The VM's layer. Attached: a mount of it that was never attached anywhere, which VMs can clone. The VM can still
    /// write to it.
    Layer {
        /// The request's number.
        call: Call,
        /// Whether it is certain that nothing was written to it, so that the layers below it are all of the VM.
        unchanged: bool,
    },
    /// The first names of a [`FileStep::RemoveFiles`] do not exist any more.
    Removed {
        /// The request's number.
        call: Call,
        /// How many.
        count: u32,
    },
    /// The first names of a step on several are done. Attached: their files, except for links.
    Several {
        /// The request's number.
        call: Call,
        /// How many are done.
        done: u32,
        /// Why the next one is not; none if all are done, or the step ended to let others go on.
        failure: Option<Failure>,
    },
    /// Attached: the opened directory.
    Entered {
        /// The request's number.
        call: Call,
        /// Whether the step has made it.
        is_new: bool,
    },
    /// A request was not carried out.
    Failed {
        /// The request's number.
        call: Call,
        /// The reason.
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
        /// The attributes, as in `statx(2)`.
        attributes: Attributes,
    },
    /// What the VM has used.
    Measured {
        /// The request's number.
        call: Call,
        /// What init counts.
        measures: Measures,
    },
    /// A path that a step has read.
    Path {
        /// The request's number.
        call: Call,
        /// The path, in any bytes but NUL.
        path: Vec<u8>,
    },
    /// Another init runs. Attached: a descriptor for its process, whose parent is the host.
    Launched {
        /// Its pid on the host.
        pid: i32,
    },
    /// No other init was started.
    LaunchFailed {
        /// The kernel's error.
        errno: i32,
        /// Whether the error was about the ids of [`Launch::take_ids`].
        ids: bool,
    },
    /// The new init has joined the cgroups and taken the namespace that its launch names. Sent on its own socket, if it
    /// must [report](Launch::reports) that.
    Settled,
    /// Attached: the mount of the VMs' `/sys`.
    HardwareDescribed {
        /// Whether VMs clone a single mount. Otherwise each attached mount serves one VM.
        can_clone: bool,
    },
    /// The tree is complete. Attached to the reply to a [`Request::HandOut`]: detached, read-only mounts of
    /// [`Hold::tops`], in that order.
    Held,
    /// All places exist now.
    Kept {
        /// The numbers of the places that are placeholders: of the directory in [`Keep::directories`], and in
        /// [`KeptDirectory::places`]. If there are none, the keeper ends.
        empty: Vec<(u8, u16)>,
    },
    /// A place cannot be held. What was made for others is removed, and the keeper ends.
    NotKept {
        /// The number of its directory in [`Keep::directories`].
        directory: u8,
        /// Its number in [`KeptDirectory::places`].
        place: u16,
        /// The reason.
        why: Unprotectable,
    },
    /// All programs have succeeded.
    IdsMapped,
    /// Attached: the mount of the new layer, which nothing else has.
    Merged,
    /// A program could not be run, or failed.
    IdsNotMapped {
        /// Its number in [`MapIds::programs`].
        program: u8,
        /// What it wrote to standard error, or why it could not be run.
        why: String,
    },
}

/// A system call that failed in the VM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Failure {
    /// The kernel's error number.
    pub errno: i32,
    /// The system call's name, as in section 2 of the manual.
    pub syscall: String,
    /// The path that it was about, if any.
    pub path: Option<String>,
}

impl Failure {
    /// The call by which init makes a cgroup for a program. If it fails with `ENOENT` or `ENODEV`, the VM's own cgroup,
    /// in which the new one was to be made, was removed on the host.
    pub const PLACE: &str = "mkdirat";

    /// The name in place of a system call for a program that was given up before it ran: with ECANCELED as requested, with
    /// ETIMEDOUT after its own [`patience_ms`](Spawn::patience_ms).
    pub const START: &str = "start";

    /// The name in place of a system call for a program that does not start because families are frozen.
    pub const PAUSED: &str = "pause";

    /// The name in place of a system call for families that cannot be frozen, or are not yet.
    pub const FREEZE: &str = "freeze";
}
