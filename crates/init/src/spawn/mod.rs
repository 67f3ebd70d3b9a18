//! Starts programs. Everything is prepared here; then a child that shares init's memory makes a few system calls and
//! executes the program.
//!
//! The child resolves paths in directories that programs can change, and reads files that programs have written. Programs can
//! make it wait there for as long as they like, for example by holding the lock of a directory. So init waits for the
//! child only as long as a child needs that nobody holds up, and looks later whether it has executed ([`Starting`]).
//!
//! Until the child has closed them, it holds copies of all of init's descriptors, and `/proc/self/fd` names them. So
//! init or a helper opens the working directory first, by a path without magic links, and the child resolves no path until it has
//! closed the others. The path of a program or of an interpreter, or an entry of PATH, then only reaches the program's
//! own descriptors.

pub mod capabilities;
mod cgroup;
mod report;
mod starting;
pub mod sys;
mod terminal;
mod traceable;

use std::collections::BTreeMap;
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::time::Duration;

use agent_vm_protocol::message::{Failure, PipeDirection, ProgramUser, Spawn, Stdio, UserNumbers};
use agent_vm_vfork::sys::Stack;
use nix::errno::Errno;
use nix::fcntl::{OFlag, open};
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::Mode;
use nix::unistd::pipe2;

pub use self::cgroup::Cgroup;
pub use self::report::Report;
pub use self::starting::{Launched, Starting};
use self::sys::{Child, ChildError, Plan, Step};
pub use self::traceable::SuidDumpable;
use crate::sys::errno_of;

/// The id of `user`.
const USER: u32 = 1000;

/// The PATH for finding programs if the environment has none.
const DEFAULT_PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// How far the limit on a program's open files stays below the server's limit, unless that is small itself.
const SERVERS_DESCRIPTORS: u64 = 512;

/// How long init waits for a child to execute: longer than a child needs that nobody holds up.
const PATIENCE: Duration = Duration::from_millis(10);

/// How long to wait for a child. While `others` may still execute, which may be a program's doing, it is only looked at later:
/// on a busy machine even the shortest wait takes a while, and there may be hundreds of them.
pub fn patience(others: bool) -> Duration {
    if others { Duration::ZERO } else { PATIENCE }
}

/// Starts programs.
#[derive(Debug)]
pub struct Spawner {
    /// The stack of the last child that has left it.
    stack: Option<Stack>,
    null_fd: OwnedFd,
    /// The user namespace in which programs are root, if there is one.
    inner_fd: Option<OwnedFd>,
    /// The capabilities of root, if that namespace has a range of ids. Then every program is in it.
    users: Option<u32>,
    env: Vec<(String, String)>,
    open_files: (u64, u64),
    sibling: bool,
    /// Whether children get copies of init's memory.
    copies: bool,
    /// The setting at which they need none.
    shares_at: Option<SuidDumpable>,
}

/// How a copy of init becomes a user of the VM's inner user namespace.
#[derive(Debug, Clone, Copy)]
pub struct UserChange<'a> {
    /// The namespace.
    pub inner_fd: BorrowedFd<'a>,
    user: &'a ProgramUser,
    of_root: u32,
}

impl UserChange<'_> {
    /// Makes this process that user, without any right that a program of that user lacks. It must have no descriptor that such
    /// a program may not have.
    pub fn make(&self) -> Result<(), Errno> {
        sys::become_user(self.inner_fd, self.user, self.of_root)
    }
}

/// A program that runs or may start to.
#[derive(Debug)]
pub struct Started {
    /// Its pid, which is also the id of its session and of its process group.
    pub pid: libc::pid_t,
    /// Its process, if it may not have executed yet.
    pub starting: Option<Starting>,
    /// The host's ends of its descriptors, in the order of [`Stdio`].
    pub host_fds: Vec<OwnedFd>,
    /// The program's side of its terminal, which is kept open while the program runs: a terminal that no process has
    /// open counts as hung up, and a program may close its terminal and open it again.
    pub terminal_fd: Option<OwnedFd>,
}

impl Spawner {
    /// Prepares to start programs with the environment `env`, and with at most `open_files` open files each.
    ///
    /// With a `bound` on the memory of programs, a child gets a copy of init's memory. Where memory runs out, the kernel may
    /// kill the child in its cgroup, and kills all who share its memory, wherever they are, unless the parent waits (`vfork(2)`).
    ///
    /// Programs are root in the user namespace `inner_fd`, or anybody if it has a range of ids: `users` are then root's
    /// capabilities. A child gets a copy there, too, unless [`sharing_at`](Self::sharing_at) lets it share: where it takes another
    /// id, the kernel resets whether its memory may be traced (`fs.suid_dumpable`).
    pub fn new(
        env: Vec<(String, String)>,
        open_files: u64,
        bound: bool,
        inner_fd: Option<OwnedFd>,
        users: Option<u32>,
    ) -> io::Result<Self> {
        let (_, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
        let open_files = open_files.min(below(hard));
        Ok(Self {
            stack: Some(Stack::new()?),
            null_fd: open("/dev/null", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())?,
            inner_fd,
            users,
            env,
            open_files: (open_files, open_files),
            sibling: false,
            copies: bound || users.is_some(),
            shares_at: None,
        })
    }

    /// Lets children share init's memory although they take other ids, while the host's setting keeps it hidden. Not with a bound on
    /// the memory of programs.
    pub fn sharing_at(self, setting: Option<SuidDumpable>) -> Self {
        Self {
            shares_at: setting,
            ..self
        }
    }

    /// Starts programs with `env` from now on.
    pub fn set_env(&mut self, env: Vec<(String, String)>) {
        self.env = env;
    }

    /// Starts siblings of the caller from now on: their parent is the caller's parent.
    pub fn start_siblings(&mut self) {
        self.sibling = true;
    }

    /// The user namespace of the VM's users, if they are real.
    pub fn users_fd(&self) -> Option<BorrowedFd<'_>> {
        self.users.and(self.inner_fd.as_ref()).map(AsFd::as_fd)
    }

    /// How another process becomes `user`; `None` if it is that already.
    pub fn way_to_become<'a>(&'a self, user: &'a ProgramUser) -> Option<UserChange<'a>> {
        let inner_fd = self.inner_fd.as_ref()?.as_fd();
        let is_here = match user {
            ProgramUser::User => true,
            ProgramUser::Root => false,
            ProgramUser::Numbers(user) => user.uid == USER,
        };
        (!is_here).then_some(UserChange {
            inner_fd,
            user,
            of_root: self.users.unwrap_or_default(),
        })
    }

    /// The descriptor that it needs.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.null_fd.as_fd()
    }

    /// Starts the program of `request` in `directory_fd` and `cgroup`, with `mark` as its limit on file locks. Waits at most
    /// `patience` until it runs.
    pub fn start(
        &mut self,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
        cgroup: Cgroup<'_>,
        mark: Option<u64>,
        patience: Duration,
    ) -> Result<Started, Failure> {
        let (host_fds, mut child_fds) = stdio(request.stdio)?;
        let shares = self.shares_at.as_ref().is_some_and(SuidDumpable::is_off);
        let launched = if self.copies && !shares {
            self.launch_copy(request, directory_fd, &child_fds, cgroup, mark, patience)?
        } else {
            match self.launch(request, directory_fd, &child_fds, cgroup, mark, None, patience)? {
                Launched::Running(pid) => Launched::Running(pid),
                Launched::Starting(child) => Launched::Starting(Starting::shared(child, request)),
            }
        };
        let is_terminal = matches!(request.stdio, Stdio::Terminal { .. });
        let (pid, starting) = match launched {
            Launched::Running(pid) => (pid, None),
            Launched::Starting(starting) => (starting.pid(), Some(starting)),
        };
        Ok(Started {
            pid,
            starting,
            host_fds,
            terminal_fd: child_fds.pop().filter(|_| is_terminal),
        })
    }

    /// Like [`start`](Self::start), with the child's ends of [`stdio`] made elsewhere. The child also writes its pid to
    /// `report_fd`, if given, followed by the step and the error if it cannot execute.
    #[allow(
        clippy::too_many_arguments,
        reason = "each is a different thing, named where it is passed on"
    )]
    pub fn launch(
        &mut self,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
        child_fds: &[OwnedFd],
        cgroup: Cgroup<'_>,
        mark: Option<u64>,
        report_fd: Option<BorrowedFd<'_>>,
        patience: Duration,
    ) -> Result<Launched<Child>, Failure> {
        let stack = match self.stack.take() {
            Some(stack) => stack,
            None => Stack::new().map_err(|error| self::failed(errno_of(&error), "mmap"))?,
        };
        let mut plan = self.plan(request, directory_fd)?;
        plan.mark = mark;
        plan.report_fd = report_fd.map(|fd| fd.as_raw_fd());
        let stdio = self.standard(child_fds);
        let more = more(request.stdio, child_fds)?;
        let failed = |error: ChildError| failure(&error, &request.program, &request.cwd);
        let child = sys::start(stack, plan, stdio, &more, cgroup).map_err(failed)?;
        let pid = child.pid();
        if !child.wait(patience) {
            return Ok(Launched::Starting(child));
        }
        match child.outcome() {
            Ok((outcome, stack)) => {
                self.stack = Some(stack);
                if outcome.is_err() && !self.sibling {
                    sys::reap(pid);
                }
                outcome.map(|()| Launched::Running(pid)).map_err(failed)
            }
            Err(child) => Ok(Launched::Starting(child)),
        }
    }

    /// As [`launch`](Self::launch), in a copy of this process's memory.
    fn launch_copy(
        &self,
        request: &Spawn,
        directory_fd: BorrowedFd<'_>,
        child_fds: &[OwnedFd],
        cgroup: Cgroup<'_>,
        mark: Option<u64>,
        patience: Duration,
    ) -> Result<Launched<Starting>, Failure> {
        let (mut report, report_fd) = Report::pair().map_err(|errno| self::failed(errno, "pipe2"))?;
        let mut plan = self.plan(request, directory_fd)?;
        plan.mark = mark;
        plan.report_fd = Some(report_fd.as_raw_fd());
        let more = more(request.stdio, child_fds)?;
        let failed = |error: ChildError| failure(&error, &request.program, &request.cwd);
        let pid = sys::start_copy(plan, self.standard(child_fds), &more, cgroup).map_err(failed)?;
        drop(report_fd);
        report.wait(patience);
        match report.outcome(false) {
            None => Ok(Launched::Starting(Starting::reported(pid, report, request))),
            Some(Ok(())) => Ok(Launched::Running(pid)),
            Some(Err(error)) => {
                sys::reap(pid);
                Err(failed(error))
            }
        }
    }

    /// The standard descriptors of a program with these ends of [`stdio`].
    fn standard<'a>(&'a self, child_fds: &'a [OwnedFd]) -> [BorrowedFd<'a>; 3] {
        match child_fds {
            [terminal] => sys::thrice(terminal),
            [stdout, stderr] => [self.null_fd.as_fd(), stdout.as_fd(), stderr.as_fd()],
            [stdin, stdout, stderr, ..] => [stdin.as_fd(), stdout.as_fd(), stderr.as_fd()],
            [] => sys::thrice(&self.null_fd),
        }
    }

    fn plan<'a>(&'a self, request: &Spawn, directory_fd: BorrowedFd<'a>) -> Result<Plan<'a>, Failure> {
        let added: BTreeMap<&str, &str> = request
            .env
            .iter()
            .map(|(name, value)| (&**name, &**value))
            .collect();
        let kept = self.env.iter().filter(|(name, _)| !added.contains_key(&**name));
        let environment = kept
            .map(|(name, value)| (&**name, &**value))
            .chain(added.iter().map(|(n, v)| (*n, *v)));
        let mut path = DEFAULT_PATH;
        let mut strings = Vec::new();
        for (name, value) in environment {
            if name == "PATH" {
                path = value;
            }
            strings.push(c_string(format!("{name}={value}"))?);
        }

        let inner_fd = self.inner_fd.as_ref().map(AsFd::as_fd);
        let (inner_fd, user) = match (&request.user, inner_fd, self.users.is_some()) {
            (ProgramUser::User, _, false) => (None, None),
            (ProgramUser::Root, Some(fd), false) => (Some(fd), None),
            (ProgramUser::User, Some(fd), true) => (Some(fd), Some(default_user())),
            (ProgramUser::Numbers(user), Some(fd), true) => (Some(fd), Some(user.clone())),
            _ => return Err(failed(Errno::EPERM, "setns")),
        };
        let cwd = if opens_directory(request) {
            None
        } else {
            Some(c_string(request.cwd.clone())?)
        };
        let name = request.argv0.as_ref().unwrap_or(&request.program);
        let mut arguments = vec![c_string(name.clone())?];
        for argument in &request.arguments {
            arguments.push(c_string(argument.clone())?);
        }
        Ok(Plan {
            candidates: candidates(&request.program, path)?,
            arguments,
            environment: strings,
            directory_fd,
            open_files: self.open_files,
            mark: None,
            inner_fd,
            user,
            of_root: self.users.unwrap_or_default(),
            cwd,
            terminal: matches!(request.stdio, Stdio::Terminal { .. }),
            subreaper: matches!(request.stdio, Stdio::Context),
            sibling: self.sibling,
            report_fd: None,
        })
    }
}

/// Whether the working directory of a program is opened for it, with the rights of `user`. Another user opens it itself.
pub fn opens_directory(request: &Spawn) -> bool {
    match &request.user {
        ProgramUser::Numbers(user) => user.uid == USER,
        ProgramUser::User | ProgramUser::Root => true,
    }
}

fn default_user() -> UserNumbers {
    UserNumbers {
        uid: USER,
        gid: USER,
        groups: Vec::new(),
    }
}

/// The limit on programs' open files if the server's limit is `hard`. The kernel limits how many descriptors a user may
/// have in transit over Unix sockets, over all processes of the user, to the limit of the sender's open files. If VMs
/// and their server have the same user, the programs' descriptors in transit must leave room for the server's.
fn below(hard: u64) -> u64 {
    hard.saturating_sub(SERVERS_DESCRIPTORS).max(hard / 2)
}

/// Why a program's working directory could not be opened.
pub fn directory_failed(errno: Errno, path: &str) -> Failure {
    Failure {
        path: Some(path.to_owned()),
        ..failed(errno, "chdir")
    }
}

/// The child's ends of its other pipes, with their numbers in the program.
fn more(stdio: Stdio, child_fds: &[OwnedFd]) -> Result<Vec<(u8, BorrowedFd<'_>)>, Failure> {
    let Stdio::MorePipes(pipes) = stdio else {
        return Ok(Vec::new());
    };
    let fds = child_fds.get(3..).unwrap_or_default();
    let more: Vec<_> = pipes
        .iter()
        .map(|(number, _)| number)
        .zip(fds.iter().map(AsFd::as_fd))
        .collect();
    if more.len() < pipes.iter().count() {
        // The deputy had no room for them.
        return Err(failed(Errno::EMFILE, "recvmsg"));
    }
    Ok(more)
}

/// The host's ends of a program's descriptors, and the program's ends.
pub fn stdio(stdio: Stdio) -> Result<(Vec<OwnedFd>, Vec<OwnedFd>), Failure> {
    let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(|errno| failed(errno, "pipe2"));
    let three_pipes = || {
        let (in_read, in_write) = pipe()?;
        let (out_read, out_write) = pipe()?;
        let (err_read, err_write) = pipe()?;
        Ok((
            vec![in_write, out_read, err_read],
            vec![in_read, out_write, err_write],
        ))
    };
    Ok(match stdio {
        Stdio::Output => {
            let (out_read, out_write) = pipe()?;
            let (err_read, err_write) = pipe()?;
            (vec![out_read, err_read], vec![out_write, err_write])
        }
        Stdio::Pipes => three_pipes()?,
        Stdio::MorePipes(more) => {
            let (mut host_fds, mut child_fds) = three_pipes()?;
            for (_, direction) in more.iter() {
                let (read, write) = pipe()?;
                let (host_fd, child_fd) = match direction {
                    PipeDirection::Input => (write, read),
                    PipeDirection::Output => (read, write),
                };
                host_fds.push(host_fd);
                child_fds.push(child_fd);
            }
            (host_fds, child_fds)
        }
        Stdio::Context => {
            let (ours, theirs) = sys::named_socket_pair().map_err(|errno| failed(errno, "socketpair"))?;
            let (out_read, out_write) = pipe()?;
            let (err_read, err_write) = pipe()?;
            (vec![ours, out_read, err_read], vec![theirs, out_write, err_write])
        }
        Stdio::Terminal { cols, rows } => {
            let terminal = terminal::open(cols, rows)?;
            (vec![terminal.master_fd], vec![terminal.slave_fd])
        }
    })
}

/// The paths that `execvp(3)` would try: the program itself if its name contains a slash, otherwise its name in each
/// directory of the PATH.
fn candidates(program: &str, path: &str) -> Result<Vec<CString>, Failure> {
    if program.is_empty() {
        return Ok(Vec::new());
    }
    if program.contains('/') {
        return Ok(vec![c_string(program.to_owned())?]);
    }
    path.split(':')
        .map(|directory| {
            c_string(if directory.is_empty() {
                program.to_owned()
            } else {
                format!("{directory}/{program}")
            })
        })
        .collect()
}

fn c_string(text: String) -> Result<CString, Failure> {
    CString::new(text).map_err(|_| failed(Errno::EINVAL, "execve"))
}

fn failed(errno: Errno, syscall: &str) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: syscall.into(),
        path: None,
    }
}

fn failure(error: &ChildError, program: &str, cwd: &str) -> Failure {
    let (syscall, path) = match error.step {
        Step::None => ("clone", None),
        Step::Join => ("write", None),
        Step::Session => ("setsid", None),
        Step::Terminal => ("ioctl", None),
        Step::Subreaper => ("prctl", None),
        Step::Descriptors => ("dup2", None),
        Step::Limit | Step::Mark => ("setrlimit", None),
        Step::Directory | Step::Reach => ("chdir", Some(cwd)),
        Step::Close => ("close_range", None),
        Step::Namespace => ("setns", None),
        Step::Capabilities => ("capset", None),
        Step::User => ("setresuid", None),
        Step::Filter => ("seccomp", None),
        Step::Execute => ("execve", Some(program)),
    };
    Failure {
        path: path.map(str::to_owned),
        ..failed(error.errno, syscall)
    }
}
