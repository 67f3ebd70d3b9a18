//! The events that a VM emits.

use bytes::Bytes;

use crate::credit::Credit;
use crate::output_log::Stream;
use crate::shell_id::ShellId;

/// Receives events. Called on the I/O thread, in the order in which things happened; must not block.
pub trait Events: Send + Sync + 'static {
    /// Takes one event.
    fn emit(&self, event: Event);
}

/// One event.
#[derive(Debug)]
pub enum Event {
    /// A spawned process wrote.
    ProcessOutput {
        /// Of the process.
        pid: u32,
        /// Where it wrote to.
        stream: Stream,
        /// What it wrote.
        data: Bytes,
        /// The position of its first byte in what the process wrote to both.
        seq: u64,
        /// Returned when the receiver has room for more.
        credit: Credit,
    },
    /// A spawned process ended. Follows all that it wrote itself.
    ProcessExit {
        /// Of the process.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
    },
    /// A shell's terminal wrote.
    ShellData {
        /// Which shell.
        shell: ShellId,
        /// What the terminal shows.
        data: Bytes,
        /// The position of its first byte.
        seq: u64,
        /// Returned when the receiver has room for more.
        credit: Credit,
    },
    /// A shell ended. Follows all that it wrote itself.
    ShellExit {
        /// Which shell.
        shell: ShellId,
        /// How it ended.
        status: ExitStatus,
    },
    /// The network option refused a connection from inside.
    NetworkDenied {
        /// Where to: a name, or an address.
        host: String,
        /// The port.
        port: u16,
        /// Why, in words.
        reason: String,
        /// Returned when the receiver has room for more; the program that wanted to connect gets its error then.
        credit: Credit,
    },
    /// The VM is gone. Nothing follows.
    Exit {
        /// Whether `dispose` was called; else init died.
        disposed: bool,
    },
}

/// How a process or shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit status, or 128 + the signal.
    pub code: i32,
    /// The signal, or 0.
    pub signal: i32,
    /// Why.
    pub reason: Reason,
    /// Processor time outside of the kernel, µs.
    pub user_us: u64,
    /// Processor time in the kernel, µs.
    pub system_us: u64,
    /// The largest resident set, bytes.
    pub max_rss_bytes: u64,
}

impl ExitStatus {
    /// What everything in a VM that is gone ended with.
    pub const DISPOSED: Self = Self {
        code: 128 + libc::SIGKILL,
        signal: libc::SIGKILL,
        reason: Reason::Disposed,
        user_us: 0,
        system_us: 0,
        max_rss_bytes: 0,
    };
}

/// Why something ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// By itself.
    Exited,
    /// A signal.
    Signal,
    /// The call's timeout.
    Timeout,
    /// The memory limit.
    Oom,
    /// With the VM.
    Disposed,
}

impl Reason {
    /// Its public name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Exited => "exited",
            Self::Signal => "signal",
            Self::Timeout => "timeout",
            Self::Oom => "oom",
            Self::Disposed => "disposed",
        }
    }
}
