//! What is said of programs: how one starts, and what became of it.

use serde::{Deserialize, Serialize};

use super::Call;

/// A program to start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spawn {
    /// This request's number, and the family's.
    pub call: Call,
    /// The program: a path if it holds a slash, else looked up on the PATH of its environment.
    pub program: String,
    /// Its arguments, without the program's own name.
    pub arguments: Vec<String>,
    /// Added to [`Boot::env`](super::Boot::env); a name that stands there is replaced.
    pub env: Vec<(String, String)>,
    /// The working directory.
    pub cwd: String,
    /// What its standard descriptors are.
    pub stdio: Stdio,
    /// The program's own name for it, which is its first argument; `None` for `program`.
    pub argv0: Option<String>,
    /// Whether [`Exit::background`] lists what is left of the family.
    pub report_background: bool,
    /// Whether its start needs no report if its end follows within about a millisecond. They
    /// are then told together, with [`Reply::Ran`](super::Reply::Ran), which wakes the host once.
    pub brief: bool,
}

impl Spawn {
    /// How many bytes its arguments and its part of the environment are, with the zero at the end of each.
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
    /// A terminal of the VM's own, of which the program's session is the owner. Attached: its master side.
    Terminal {
        /// Columns, 1 to 65535.
        cols: u16,
        /// Rows, 1 to 65535.
        rows: u16,
    },
}

/// How a program ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Exit {
    /// The exit status, or 128 + the signal.
    pub code: i32,
    /// The signal that ended it, or 0.
    pub signal: i32,
    /// Whether the kernel killed it for want of memory, or a part of it whose end it passes on as its own.
    pub oom: bool,
    /// What it used, with the children it waited for (`getrusage(2)`).
    pub usage: Usage,
    /// What is left of its family, where it was asked for.
    pub background: Vec<Background>,
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
    /// Its command line as `/proc` has it, at most 4 KiB: arguments that end with a NUL each.
    pub command_line: Vec<u8>,
    /// The kernel's name for it (`/proc/PID/comm`), where its command line has no name; empty otherwise.
    pub name: Vec<u8>,
    /// The name of the file that it executes, where its command line may not say so: it is empty, or begins with a title.
    pub executable: Option<Vec<u8>>,
}
