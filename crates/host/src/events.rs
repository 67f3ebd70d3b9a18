//! What a VM tells its owner without being asked.

use bytes::Bytes;
use tokio::sync::oneshot;

use crate::output_log::Stream;

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
        /// Whose.
        pid: u32,
        /// Where.
        stream: Stream,
        /// What.
        data: Bytes,
        /// The position of its first byte in what the process wrote to both.
        seq: u64,
        /// To be dropped when the receiver has room for more.
        taken: Taken,
    },
    /// A spawned process ended. Follows all that it wrote itself.
    ProcessExit {
        /// Whose.
        pid: u32,
        /// How.
        status: ExitStatus,
    },
    /// A shell's terminal wrote.
    ShellData {
        /// Which shell.
        shell: ShellId,
        /// What.
        data: Bytes,
        /// The position of its first byte.
        seq: u64,
        /// To be dropped when the receiver has room for more.
        taken: Taken,
    },
    /// A shell ended. Follows all that it wrote itself.
    ShellExit {
        /// Which shell.
        shell: ShellId,
        /// How.
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
        /// To be dropped when the receiver has room for more; whoever wanted to connect hears of it then.
        taken: Taken,
    },
    /// The VM is gone. Nothing follows.
    Exit {
        /// Whether `dispose` was called; else init died.
        disposed: bool,
    },
}

/// A shell's number; its public name is `shell-` and this.
pub type ShellId = u64;

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

/// Held by whoever still works on a chunk; the next is not read before it is dropped. That is the backpressure: a slow
/// receiver leaves bytes in the kernel's pipe, and the kernel stops the writer.
#[derive(Debug)]
pub struct Taken(#[allow(dead_code, reason = "dropping it is its message")] oneshot::Sender<()>);

/// Resolves when the [`Taken`] of its pair is dropped.
pub struct AwaitTaken(oneshot::Receiver<()>);

impl Taken {
    /// A pair.
    #[must_use]
    pub fn new() -> (Self, AwaitTaken) {
        let (sender, receiver) = oneshot::channel();
        (Self(sender), AwaitTaken(receiver))
    }
}

impl AwaitTaken {
    /// Waits.
    pub async fn wait(self) {
        // The sender sends nothing: its end is the answer.
        drop(self.0.await);
    }
}
