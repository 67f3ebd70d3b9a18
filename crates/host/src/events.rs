//! The events that a VM emits.

use bytes::Bytes;

use crate::credit::Credit;
use crate::listening::ListeningPort;
use crate::output_log::Stream;
use crate::shell_id::ShellId;

/// Receives events. Called on the I/O thread, in the order of the events; must not block.
pub trait Events: Send + Sync + 'static {
    /// Receives one event.
    fn emit(&self, event: Event);
}

/// One event.
#[derive(Debug)]
pub enum Event {
    /// A spawned process has written output.
    ProcessOutput {
        /// The pid of the process.
        pid: u32,
        /// The stream that it wrote to.
        stream: Stream,
        /// The bytes that it wrote.
        data: Bytes,
        /// The position of the first byte in the process's output, counted over both streams.
        seq: u64,
        /// The number of the call that started the process, which no other process has.
        start: u64,
        /// Returned when the receiver has room for more.
        credit: Credit,
    },
    /// A spawned process has written to one of its pipes beside the standard streams.
    DescriptorOutput {
        /// The pid of the process.
        pid: u32,
        /// The pipe's number in the process.
        number: u8,
        /// The bytes that it wrote.
        data: Bytes,
        /// The position of the first byte, counted for this pipe.
        seq: u64,
        /// The number of the call that started the process.
        start: u64,
        /// Returned when the receiver has room for more.
        credit: Credit,
    },
    /// A spawned process has ended. Comes after everything that it wrote itself.
    ProcessExit {
        /// The pid of the process.
        pid: u32,
        /// How it ended.
        status: ExitStatus,
        /// The number of the call that started the process.
        start: u64,
        /// Whether nothing can write to its streams any more; else [`Event::ProcessClose`] follows.
        closed: bool,
    },
    /// The output streams of a spawned process have ended, later than the process itself.
    ProcessClose {
        /// The pid of the process.
        pid: u32,
        /// The number of the call that started the process.
        start: u64,
    },
    /// A shell's terminal has output.
    ShellData {
        /// The shell.
        shell: ShellId,
        /// The terminal's output.
        data: Bytes,
        /// The position of the first byte in the shell's output.
        seq: u64,
        /// Returned when the receiver has room for more.
        credit: Credit,
    },
    /// A shell has ended. Comes after everything that it wrote itself.
    ShellExit {
        /// The shell.
        shell: ShellId,
        /// How it ended.
        status: ExitStatus,
    },
    /// The network option refused a connection that a program in the VM asked for.
    NetworkDenied {
        /// The destination: a name or an address.
        host: String,
        /// The destination's port.
        port: u16,
        /// The reason, as text.
        reason: String,
        /// Returned when the receiver has room for more; only then does the program get its error.
        credit: Credit,
    },
    /// The program in a shell's foreground waits for input.
    ShellWaiting {
        /// The shell.
        shell: ShellId,
        /// Returned when the receiver has room for more.
        credit: Credit,
    },
    /// Processes of the VM have begun or ceased to listen on ports.
    Ports {
        /// What has changed since the last such event.
        changes: Vec<PortChange>,
        /// Returned when the receiver has room for more.
        credit: Credit,
    },
    /// The VM is gone. This is the last event.
    Exit {
        /// Whether `dispose` was called; otherwise init ended by itself.
        disposed: bool,
    },
}

/// What has changed about a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortChange {
    /// A process listens on it now.
    Opened(ListeningPort),
    /// No process listens on it any more.
    Closed(u16),
}

/// How a process or shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExitStatus {
    /// The exit status, or 128 + the signal's number.
    pub code: i32,
    /// The signal's number, or 0.
    pub signal: i32,
    /// The reason for its end.
    pub reason: Reason,
    /// Processor time in user mode, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: u64,
    /// The largest resident set size, in bytes.
    pub max_rss_bytes: u64,
}

impl ExitStatus {
    /// The exit status of everything that was still running when its VM ended.
    pub const DISPOSED: Self = Self {
        code: 128 + libc::SIGKILL,
        signal: libc::SIGKILL,
        reason: Reason::Disposed,
        user_us: 0,
        system_us: 0,
        max_rss_bytes: 0,
    };

    /// The exit status of a program that its timeout killed before it ran.
    pub const NOT_STARTED: Self = Self {
        reason: Reason::Timeout,
        ..Self::DISPOSED
    };
}

/// Why a process or shell ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reason {
    /// It exited by itself.
    Exited,
    /// A signal killed it.
    Signal,
    /// Its timeout expired.
    Timeout,
    /// It was killed at the memory limit.
    Oom,
    /// Its VM ended.
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
