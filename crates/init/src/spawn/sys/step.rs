//! The steps of a child.

use libc::c_int;

/// The step at which a child failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(i32)]
pub enum Step {
    /// It did not fail.
    None,
    /// `write(2)` to a cgroup's `tasks`.
    Join,
    /// `setsid(2)`.
    Session,
    /// `ioctl(2)` with TIOCSCTTY.
    Terminal,
    /// `prctl(2)` with `PR_SET_CHILD_SUBREAPER`.
    Subreaper,
    /// `dup2(2)` of the standard descriptors.
    Descriptors,
    /// `setrlimit(2)`.
    Limit,
    /// The same, of the limit that marks the family.
    Mark,
    /// `fchdir(2)`.
    Directory,
    /// `close_range(2)`.
    Close,
    /// `getcwd(2)`: the working directory is outside of the program's root, or was removed.
    Reach,
    /// `setns(2)`.
    Namespace,
    /// `capset(2)` and what goes with it.
    Capabilities,
    /// `setresuid(2)` and what goes with it.
    User,
    /// `seccomp(2)`.
    Filter,
    /// `execve(2)`.
    Execute,
}

impl Step {
    const ALL: [Self; 16] = [
        Self::None,
        Self::Join,
        Self::Session,
        Self::Terminal,
        Self::Subreaper,
        Self::Descriptors,
        Self::Limit,
        Self::Mark,
        Self::Directory,
        Self::Close,
        Self::Reach,
        Self::Namespace,
        Self::Capabilities,
        Self::User,
        Self::Filter,
        Self::Execute,
    ];

    /// The step with that number in a report.
    pub fn numbered(number: c_int) -> Option<Self> {
        Self::ALL.into_iter().find(|step| *step as c_int == number)
    }
}
