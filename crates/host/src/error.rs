//! The errors that callers get.

use std::io;

use agent_vm_protocol::message::Failure;

/// The error of a call that failed. [`Error::code`] is the stable name for callers to branch on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument that is never valid for this call.
    #[error("{0}")]
    InvalidArgument(String),
    /// The host cannot provide the requested isolation.
    #[error("{cause}. {remedy}")]
    IsolationUnavailable {
        /// Why not.
        cause: String,
        /// How to get it.
        remedy: String,
    },
    /// The VM was disposed or has ended by itself.
    #[error("The VM is gone: it was disposed, or its init has died")]
    Disposed,
    /// Something runs or is open in the VM, and the call needs one in which nothing does.
    #[error("{0}")]
    Busy(String),
    /// The disk belongs to another VM.
    #[error("{0}")]
    DiskInUse(String),
    /// No snapshot has this id: none was made with it, or it was removed.
    #[error("Snapshot not found: {0}")]
    SnapshotNotFound(String),
    /// The VM is paused, so no program starts.
    #[error("The VM is paused: no program starts before resume()")]
    Paused,
    /// No process with this pid was spawned.
    #[error("Process not found: {0}")]
    ProcessNotFound(u32),
    /// No shell with this name was opened, or it has exited and the call needs a running shell.
    #[error("Shell not found: {0}")]
    ShellNotFound(String),
    /// No context has this name: none was made with it, or it was deleted.
    #[error("Context not found: {0}")]
    ContextNotFound(String),
    /// The context was reset before the command began.
    #[error("{0} was reset before the command began")]
    ContextReset(String),
    /// The process's standard input was closed, or the process has ended.
    #[error("The standard input of process {0} is closed")]
    StdinClosed(u32),
    /// A configured or built-in limit was exceeded.
    #[error("{0}")]
    LimitExceeded(String),
    /// What the call waits for has not happened in the time that the caller gave it.
    #[error("{0}")]
    TimedOut(String),
    /// The caller's `AbortSignal` aborted the call.
    #[error("The operation was aborted")]
    Aborted,
    /// The file is larger than the call may read.
    #[error("{}: at most {most} bytes are read (maxBytes)", describe(libc::EFBIG, "read", Some(.path)))]
    FileTooLarge {
        /// The path of the file.
        path: String,
        /// The maximum size in bytes.
        most: u64,
    },
    /// A system call failed.
    #[error("{}", describe(*.errno, .syscall, .path.as_deref()))]
    System {
        /// The kernel's error number.
        errno: i32,
        /// The name of the system call.
        syscall: String,
        /// The path that it was about.
        path: Option<String>,
    },
}

impl Error {
    /// The error of a system call of this process.
    #[must_use]
    pub fn system(error: &io::Error, syscall: &str) -> Self {
        Self::System {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            syscall: syscall.to_owned(),
            path: None,
        }
    }

    /// The descriptor of a reply is missing: this process had no room for it (`unix(7)`, `SCM_RIGHTS`).
    pub(crate) fn missing_descriptor() -> Self {
        Self::System {
            errno: libc::EMFILE,
            syscall: "recvmsg".into(),
            path: None,
        }
    }

    /// The system call that failed: the kernel's error number, the call's name, and the path that it was about.
    #[must_use]
    pub fn system_call(&self) -> Option<(i32, &str, Option<&str>)> {
        match self {
            Self::System { errno, syscall, path } => Some((*errno, syscall, path.as_deref())),
            // A bound of the call, reported as the kernel reports a file that is too large.
            Self::FileTooLarge { path, .. } => Some((libc::EFBIG, "read", Some(path))),
            _ => None,
        }
    }

    /// The error's public code.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::InvalidArgument(_) => "INVALID_ARGUMENT".into(),
            Self::IsolationUnavailable { .. } => "ISOLATION_UNAVAILABLE".into(),
            Self::Disposed => "VM_DISPOSED".into(),
            Self::Busy(_) => "VM_BUSY".into(),
            Self::DiskInUse(_) => "DISK_IN_USE".into(),
            Self::SnapshotNotFound(_) => "SNAPSHOT_NOT_FOUND".into(),
            Self::Paused => "VM_PAUSED".into(),
            Self::ProcessNotFound(_) => "PROCESS_NOT_FOUND".into(),
            Self::ShellNotFound(_) => "SHELL_NOT_FOUND".into(),
            Self::ContextNotFound(_) => "CONTEXT_NOT_FOUND".into(),
            Self::StdinClosed(_) => "STDIN_CLOSED".into(),
            Self::LimitExceeded(_) => "LIMIT_EXCEEDED".into(),
            Self::TimedOut(_) => errno_name(libc::ETIMEDOUT),
            Self::Aborted | Self::ContextReset(_) => "ABORTED".into(),
            Self::System { errno, .. } => errno_name(*errno),
            Self::FileTooLarge { .. } => errno_name(libc::EFBIG),
        }
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        if failure.syscall == Failure::PLACE && matches!(failure.errno, libc::ENOENT | libc::ENODEV) {
            return Self::IsolationUnavailable {
                cause: "the VM's cgroup was removed on the host, and its limits with it".into(),
                remedy:
                    "Dispose of the VM, make another, and leave directories named agent-vm-* to their servers"
                        .into(),
            };
        }
        if failure.syscall == Failure::PAUSED {
            return Self::Paused;
        }
        if failure.syscall == Failure::START {
            return match failure.errno {
                libc::ECANCELED => Self::Aborted,
                _ => Self::TimedOut("the program did not begin to run within its timeout".into()),
            };
        }
        if failure.syscall == Failure::FREEZE && failure.errno == libc::EOPNOTSUPP {
            return Self::IsolationUnavailable {
                cause: "pause() freezes the cgroups of a VM's programs, and this VM's programs have none".into(),
                remedy: "Give the server a directory of cgroup version 2, on Linux 5.2 or later: AgentVm.doctor() reports what it lacks"
                    .into(),
            };
        }
        Self::System {
            errno: failure.errno,
            syscall: failure.syscall,
            path: failure.path,
        }
    }
}

/// The symbolic name of an errno, as in `errno(3)`.
fn errno_name(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("E{errno}"),
        known => format!("{known:?}"),
    }
}

/// The message in Node.js's form: `ENOENT: No such file or directory, open '/x'`.
fn describe(errno: i32, syscall: &str, path: Option<&str>) -> String {
    let name = errno_name(errno);
    let text = nix::errno::Errno::from_raw(errno).desc();
    match path {
        Some(path) => format!("{name}: {text}, {syscall} '{path}'"),
        None => format!("{name}: {text}, {syscall}"),
    }
}
