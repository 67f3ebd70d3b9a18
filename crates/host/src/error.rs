//! The errors that users get.

use std::io;

use agent_vm_protocol::message::Failure;

/// A call that was not carried out. [`Error::code`] is the stable name that users branch on.
#[derive(Debug, Clone, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// An argument that no call of this kind can take.
    #[error("{0}")]
    InvalidArgument(String),
    /// The host cannot isolate as asked.
    #[error("{cause}. {remedy}")]
    IsolationUnavailable {
        /// What is in the way.
        cause: String,
        /// What to do about it.
        remedy: String,
    },
    /// The VM was disposed, or has died.
    #[error("The VM is gone: it was disposed, or its init has died")]
    Disposed,
    /// No process of that pid was spawned.
    #[error("Process not found: {0}")]
    ProcessNotFound(u32),
    /// No shell of that name was opened, or it has gone where the call needs a running one.
    #[error("Shell not found: {0}")]
    ShellNotFound(String),
    /// The process's standard input was closed, or the process has gone.
    #[error("The standard input of process {0} is closed")]
    StdinClosed(u32),
    /// A configured or built-in limit.
    #[error("{0}")]
    LimitExceeded(String),
    /// The caller's `AbortSignal`.
    #[error("The operation was aborted")]
    Aborted,
    /// A file that has more bytes than a call may read.
    #[error("{}: at most {most} bytes are read (maxBytes)", describe(libc::EFBIG, "read", Some(.path)))]
    FileTooLarge {
        /// The file.
        path: String,
        /// The call's bound.
        most: u64,
    },
    /// An operating system call.
    #[error("{}", describe(*.errno, .syscall, .path.as_deref()))]
    System {
        /// The kernel's number.
        errno: i32,
        /// The call's name.
        syscall: String,
        /// The path it was about.
        path: Option<String>,
    },
}

impl Error {
    /// An operating system call that failed here.
    #[must_use]
    pub fn system(error: &io::Error, syscall: &str) -> Self {
        Self::System {
            errno: error.raw_os_error().unwrap_or(libc::EIO),
            syscall: syscall.to_owned(),
            path: None,
        }
    }

    /// A descriptor of a reply did not arrive: this process had no room for it (`unix(7)`, `SCM_RIGHTS`).
    pub(crate) fn missing_descriptor() -> Self {
        Self::System {
            errno: libc::EMFILE,
            syscall: "recvmsg".into(),
            path: None,
        }
    }

    /// The public name of what went wrong.
    #[must_use]
    pub fn code(&self) -> String {
        match self {
            Self::InvalidArgument(_) => "INVALID_ARGUMENT".into(),
            Self::IsolationUnavailable { .. } => "ISOLATION_UNAVAILABLE".into(),
            Self::Disposed => "VM_DISPOSED".into(),
            Self::ProcessNotFound(_) => "PROCESS_NOT_FOUND".into(),
            Self::ShellNotFound(_) => "SHELL_NOT_FOUND".into(),
            Self::StdinClosed(_) => "STDIN_CLOSED".into(),
            Self::LimitExceeded(_) => "LIMIT_EXCEEDED".into(),
            Self::Aborted => "ABORTED".into(),
            Self::FileTooLarge { .. } => errno_name(libc::EFBIG),
            Self::System { errno, .. } => errno_name(*errno),
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
        Self::System {
            errno: failure.errno,
            syscall: failure.syscall,
            path: failure.path,
        }
    }
}

/// The errno's symbol, as in `errno(3)`.
fn errno_name(errno: i32) -> String {
    match nix::errno::Errno::from_raw(errno) {
        nix::errno::Errno::UnknownErrno => format!("E{errno}"),
        known => format!("{known:?}"),
    }
}

/// As Node.js words it: `ENOENT: No such file or directory, open '/x'`.
fn describe(errno: i32, syscall: &str, path: Option<&str>) -> String {
    let name = errno_name(errno);
    let text = nix::errno::Errno::from_raw(errno).desc();
    match path {
        Some(path) => format!("{name}: {text}, {syscall} '{path}'"),
        None => format!("{name}: {text}, {syscall}"),
    }
}
