//! The data about programs: how one is started, and how it ended.

use serde::{Deserialize, Serialize};

use super::{Call, MorePipes};

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// The number of this request, and of the family.
    pub call: Call,
    /// The program: a path if it contains a slash, otherwise a name to look up on the PATH of its environment.
    pub program: String,
    /// The arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Variables to add to [`Boot::env`](super::Boot::env); they replace variables of the same name.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// The kind of its standard descriptors.
    pub stdio: Stdio,
    /// The program's own name for it, which is its first argument; `None` for `program`.
    pub argv0: Option<String>,
    /// Whether [`Exit::background`] lists the processes that are left of the family.
    pub report_background: bool,
    /// Whether its start need not be reported if its end follows within about a millisecond. Both are then reported
    /// together, with [`Reply::Ran`](super::Reply::Ran), which wakes the host only once.
    pub brief: bool,
    /// How long the program may take until it runs, if not as long as init allows. Then the start fails with ETIMEDOUT and
    /// [`Failure::START`](super::Failure::START).
    pub patience_ms: Option<u32>,
    /// The user that it runs as.
    pub user: ProgramUser,
}

/// The user that a program runs as.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum ProgramUser {
    /// The VM's user.
    #[default]
    User,
    /// Root of an inner user namespace with a single id. Without such a namespace the start fails with EPERM.
    Root,
    /// A user of an inner user namespace with a range of ids. Without such a namespace the start fails with EPERM.
    Numbers(UserNumbers),
}

/// A user by numbers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserNumbers {
    /// The uid.
    pub uid: u32,
    /// The gid.
    pub gid: u32,
    /// The other groups.
    pub groups: Vec<u32>,
}

impl Spawn {
    /// The size in bytes of its arguments and of its part of the environment, including their final zero bytes.
    #[must_use]
    pub fn words_bytes(&self) -> usize {
        let arguments = self.arguments.iter().map(|word| word.len() + 1);
        let env = self.env.iter().map(|(name, value)| name.len() + value.len() + 2);
        let name = self.argv0.as_ref().unwrap_or(&self.program);
        arguments.chain(env).fold(name.len() + 1, usize::saturating_add)
    }
}

/// The standard descriptors of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stdio {
    /// Standard input at end of file; pipes for the rest. Attached to [`Reply::Spawned`](super::Reply::Spawned): stdout,
    /// stderr.
    Output,
    /// Three pipes. Attached to [`Reply::Spawned`](super::Reply::Spawned): stdin, stdout, stderr.
    Pipes,
    /// Three pipes, and others. Attached to [`Reply::Spawned`](super::Reply::Spawned): stdin, stdout, stderr, and the others by their
    /// numbers.
    MorePipes(MorePipes),
    /// For the shell of a context: a stream socket as standard input, on which the kernel names each writer, and pipes for the rest.
    /// What the shell starts has the shell as parent when its own parent has ended (`PR_SET_CHILD_SUBREAPER`), so all of that
    /// descends from the shell. Attached to [`Reply::Spawned`](super::Reply::Spawned): the other end of the socket, stdout, stderr.
    Context,
    /// A terminal of the VM's own, of which the program's session is the owner. Attached: its master side.
    Terminal {
        /// Columns, 1 to 65535.
        cols: u16,
        /// Rows, 1 to 65535.
        rows: u16,
    },
}

/// The end of what a context's shell runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Interrupt {
    /// This request's number.
    pub call: Call,
    /// The shell's number. Nothing is done once the shell has ended.
    pub family: Call,
    /// What the shell alone gets before its descendants are killed. With SIGKILL it is killed together with them.
    pub signal: i32,
    /// Descendants of the shell that live on, with all that descends from them.
    pub spared: Vec<KnownProcess>,
}

/// A process that cannot be mistaken for a later one of the same number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct KnownProcess {
    /// In the VM's pid namespace.
    pub pid: u32,
    /// When it started, in clock ticks since the machine did (`proc_pid_stat(5)`).
    pub start: u64,
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, or 128 + the signal.
    pub code: i32,
    /// The number of the signal that ended it, or 0.
    pub signal: i32,
    /// Whether the kernel killed it, or a part of it whose end it passes on as its own, because memory ran out.
    pub oom: bool,
    /// The resources that it used, including those of the children it waited for (`getrusage(2)`).
    pub usage: Usage,
    /// The processes that are left of its family, if requested.
    pub background: Vec<KnownProcess>,
}

/// The resources that a process used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Usage {
    /// Processor time in user mode, in microseconds.
    pub user_us: u64,
    /// Processor time in the kernel, in microseconds.
    pub system_us: u64,
    /// The largest resident set size of any one process, in KiB.
    pub max_rss_kib: u64,
}
