//! Calls that a filter cannot decide, because the decision depends on a file, and a filter sees a path or a descriptor
//! only as a number. The kernel asks init about these calls (`seccomp_unotify(2)`), and a [helper](crate::helper)
//! carries them out with its own copy of the arguments: it opens the file with `O_PATH`, checks the opened file, and
//! changes it. It never lets the kernel continue the program's call, whose arguments may have changed meanwhile.
//!
//! In a VM that shows host directories, or has the host's network, these are the calls that give a file a mode with a
//! set-id bit: the VM's own files may have any such mode, the host's files none, except that directories may be
//! set-group-id. Where the VM's users are real, the helper changes the mode with the rights of the program's user
//! ([`rights`]).
//!
//! In a VM without namespaces these are all calls that change a file's mode or times. Landlock does not control them
//! (`landlock(7)`), and a VM whose user is the server's could otherwise change the mode of every file of that user. The
//! helper carries them out only for files below the VM's directory, all of which are on the host. It resolves each path
//! below the directory (`RESOLVE_BENEATH`), so that no link, no `..` and no race leads out. An absolute symbolic link
//! is refused too, even if it leads back in.
//!
//! In such a VM the kernel also asks about calls that may open one of a few files to read it ([`replaced`]). A filter
//! cannot read a path, but these paths are in only a few places: the C library's own copy of the path, or a program's
//! arguments, which are on its first stack. If such a call names another file, the kernel continues it unchanged, and
//! Landlock decides.

mod arguments;
mod caller;
mod ground;
mod replaced;
mod rights;
mod sys;

use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::rc::Rc;

use agent_vm_protocol::{Channel, Frame};
use libc::pid_t;
use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};
use serde::{Deserialize, Serialize};

use self::arguments::{AskedCall, Change, Times};
use self::caller::Caller;
use self::rights::{AsCaller, CallerRights};
use crate::helper::{self, Finished, Helper};
use crate::sys::MEDIATOR_NAME;

pub use ground::{Ground, OwnMounts};
pub use replaced::Replaced;
pub use sys::{Asked, change_mode, listen};

/// Receives calls, and has a helper answer them, one at a time, because a program can lock its memory and its files.
#[derive(Debug)]
pub struct Mediator {
    /// The descriptors on which the kernel asks: one for init's own filter, or one for each deputy so far of which a
    /// program lives.
    sources: Vec<Rc<OwnedFd>>,
    /// The index of the descriptor to check first next time.
    next: usize,
    helper: Helper<UnansweredCall, Answered>,
}

/// A call that a helper answers, and the descriptor on which it was received.
#[derive(Debug)]
struct UnansweredCall {
    asked: Asked,
    source: Rc<OwnedFd>,
}

/// The helper's errand. Attached: the descriptor on which the call was received, the caller's directory in `/proc` and,
/// if it may be read, the caller's memory.
#[derive(Debug, Serialize, Deserialize)]
struct AskedErrand(Asked);

/// The call was answered, unless the kernel refused that, which init's log then contains.
#[derive(Debug, Serialize, Deserialize)]
struct Answered;

impl Default for Mediator {
    fn default() -> Self {
        Self {
            sources: Vec::new(),
            next: 0,
            helper: Helper::new(MEDIATOR_NAME),
        }
    }
}

impl Mediator {
    /// Adds descriptors on which the kernel asks.
    pub fn add_sources(&mut self, fds: Vec<OwnedFd>) {
        self.sources.extend(fds.into_iter().map(Rc::new));
    }

    /// Whether the kernel asks about any calls.
    pub fn has_sources(&self) -> bool {
        !self.sources.is_empty()
    }

    /// Descriptors that are readable when there is something to do. While the helper works, further calls stay in the
    /// kernel.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        let sources = if self.helper.is_idle() {
            &*self.sources
        } else {
            &[]
        };
        sources
            .iter()
            .map(|source| source.as_fd())
            .chain(self.helper.fd())
    }

    /// When [`advance`](Self::advance) must be called even if nothing is readable.
    pub fn due(&self) -> Option<std::time::Instant> {
        self.helper.due()
    }

    /// The pids of the helper's processes.
    pub fn pids(&self) -> impl Iterator<Item = pid_t> {
        self.helper.pids()
    }

    /// Ends the helper at the end of the VM.
    pub fn dismiss(&mut self) {
        self.helper.dismiss();
    }

    /// Receives a call if the helper is idle, and continues the helper's work. `proc_fd` is a `/proc` that shows
    /// programs and init.
    pub fn advance(&mut self, proc_fd: BorrowedFd<'_>, ground: &Ground<'_>) {
        let work = |channel: &Channel| work(channel, proc_fd, ground);
        finish(self.helper.advance(work));
        if self.helper.is_idle()
            && let Some(pending) = self.receive()
        {
            self.begin(pending, proc_fd);
            finish(self.helper.advance(work));
        }
    }

    /// A waiting call, taken from each source in turn.
    fn receive(&mut self) -> Option<UnansweredCall> {
        let mut ended = Vec::new();
        let mut found = None;
        for step in 0..self.sources.len() {
            let index = (self.next + step) % self.sources.len();
            let source = &self.sources[index];
            let mut watched = [PollFd::new(source.as_fd(), PollFlags::POLLIN)];
            match poll(&mut watched, PollTimeout::ZERO) {
                Ok(0) | Err(_) => continue,
                Ok(_) => {}
            }
            let events = watched[0].revents().unwrap_or(PollFlags::empty());
            if !events.contains(PollFlags::POLLIN) {
                // No process under that filter is left.
                ended.push(Rc::clone(source));
                continue;
            }
            match sys::receive(source.as_fd()) {
                Ok(asked) => {
                    self.next = index + 1;
                    let source = Rc::clone(source);
                    found = Some(UnansweredCall { asked, source });
                    break;
                }
                // The caller was killed meanwhile, or a signal arrived.
                Err(Errno::ENOENT | Errno::EINTR) => {}
                Err(errno) => crate::sys::log(&errno),
            }
        }
        self.sources
            .retain(|source| !ended.iter().any(|gone| Rc::ptr_eq(gone, source)));
        found
    }

    /// Gives a call to the helper. Init opens the caller's memory itself, because only an ancestor may do so where Yama
    /// restricts tracing.
    fn begin(&mut self, pending: UnansweredCall, proc_fd: BorrowedFd<'_>) {
        let UnansweredCall { asked, source } = &pending;
        let opened = || -> Result<Vec<OwnedFd>, Errno> {
            // The thread's directory is opened before the kernel confirms that the thread still waits. Another thread
            // may have its id by then, but the descriptor stays with this one.
            let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
            let caller_fd = openat(proc_fd, asked.pid.to_string().as_str(), flags, Mode::empty())
                .map_err(|_| Errno::EPERM)?;
            // Init may not read a program that has made itself untraceable.
            let memory_fd = memory(&caller_fd);
            sys::confirm(source.as_fd(), asked)?;
            let source_fd = source.try_clone().map_err(|_| Errno::EAGAIN)?;
            Ok([source_fd, caller_fd].into_iter().chain(memory_fd).collect())
        };
        match opened().and_then(|fds| Frame::new(&AskedErrand(*asked), fds).map_err(|_| Errno::EAGAIN)) {
            Ok(frame) => self.helper.submit(pending, frame),
            Err(errno) => refuse(&pending, errno),
        }
    }
}

/// The memory of the thread with that directory in `/proc`, if this process may read it.
fn memory(caller_fd: &OwnedFd) -> Option<OwnedFd> {
    let flags = OFlag::O_RDONLY | OFlag::O_CLOEXEC;
    openat(caller_fd, "mem", flags, Mode::empty()).ok()
}

fn finish(finished: Vec<Finished<UnansweredCall, Answered>>) {
    for (pending, answered) in finished {
        if let Err(errno) = answered {
            refuse(&pending, errno);
        }
    }
}

/// Answers a call that the helper cannot answer, or has not answered.
fn refuse(pending: &UnansweredCall, errno: Errno) {
    let (source, asked) = (pending.source.as_fd(), &pending.asked);
    let answered = if sys::Open::of(asked).is_some() {
        sys::go_on(source, asked)
    } else {
        sys::reply(source, asked, Some(errno))
    };
    log_unanswered(answered);
}

fn log_unanswered(answered: Result<(), Errno>) {
    match answered {
        // The caller was killed meanwhile, or the answer was sent before.
        Ok(()) | Err(Errno::ENOENT | Errno::EINPROGRESS) => {}
        Err(errno) => crate::sys::log(&errno),
    }
}

/// Runs in the helper's process.
fn work(channel: &Channel, proc_fd: BorrowedFd<'_>, ground: &Ground<'_>) {
    let mut kept = vec![channel.as_fd(), proc_fd];
    kept.extend(ground.fds());
    kept.extend(ground.users_fd());
    if let Err(errno) = helper::close_all_but(&kept) {
        crate::sys::log(&errno);
        return;
    }
    if let Some(users_fd) = ground.users_fd()
        && let Err(errno) = rights::enter(users_fd)
    {
        crate::sys::log(&errno);
        return;
    }
    helper::serve(channel, |AskedErrand(asked), fds| {
        let mut fds = fds.into_iter();
        // Otherwise this process had no room for them; init answers the call when this process is gone.
        let (Some(source_fd), Some(caller_fd)) = (fds.next(), fds.next()) else {
            std::process::exit(1);
        };
        // Where users are real, init may not read all of them. What is read here counts if the thread still waits after that.
        let memory_fd = fds.next().or_else(|| ground.users_fd().and(memory(&caller_fd)));
        let caller = Caller::new(caller_fd, memory_fd);
        log_unanswered(answer(&asked, &caller, source_fd.as_fd(), proc_fd, ground));
        (Answered, Vec::new())
    });
}

fn answer(
    asked: &Asked,
    caller: &Caller,
    source: BorrowedFd<'_>,
    proc_fd: BorrowedFd<'_>,
    ground: &Ground<'_>,
) -> Result<(), Errno> {
    match (sys::Open::of(asked), ground.replaced()) {
        (Some(open), Some(replaced)) => answer_open(asked, &open, caller, source, replaced),
        // If no file is replaced, no filter asks about these calls.
        (Some(_), None) => sys::reply(source, asked, Some(Errno::EPERM)),
        (None, _) => {
            let error = change(asked, caller, source, proc_fd, ground).err();
            sys::reply(source, asked, error)
        }
    }
}

/// Returns the replacement of the named file, or lets the kernel continue the call: whatever its path means by then,
/// Landlock decides about it.
fn answer_open(
    asked: &Asked,
    open: &sys::Open,
    caller: &Caller,
    source: BorrowedFd<'_>,
    replaced: &Replaced,
) -> Result<(), Errno> {
    let path = caller.read_string(open.path);
    match path.ok().and_then(|path| replaced.open(path.to_bytes())) {
        Some(Ok(fd)) => match sys::reply_with(source, asked, fd.as_fd(), open.closes_on_exec) {
            Ok(()) => Ok(()),
            // The program has no room for a descriptor, or is gone.
            Err(errno) => sys::reply(source, asked, Some(errno)),
        },
        Some(Err(errno)) => sys::reply(source, asked, Some(errno)),
        None => sys::go_on(source, asked),
    }
}

fn change(
    asked: &Asked,
    caller: &Caller,
    source: BorrowedFd<'_>,
    proc_fd: BorrowedFd<'_>,
    ground: &Ground<'_>,
) -> Result<(), Errno> {
    let request = AskedCall::read(asked, caller)?;
    let start_fd = ground.start(caller, &request.named)?;
    // Where users are real, the kernel decides by those of the caller.
    let rights = match ground.users_fd() {
        Some(_) => {
            let rights = CallerRights::read(caller)?;
            // If the thread still waits, these are its own: another thread that executes a program takes over the number, and
            // with a set-user-id program gets other rights.
            sys::confirm(source, asked)?;
            Some(AsCaller::begin(rights)?)
        }
        None => None,
    };
    let file_fd = ground.find(caller, &request.named, start_fd)?;
    // Through /proc, the only way to name a file by an `O_PATH` descriptor.
    let name = format!("self/fd/{}", file_fd.as_raw_fd());
    match request.change {
        Change::Mode(mode) => {
            ground.takes(file_fd.as_fd(), mode)?;
            if let Some(rights) = &rights {
                rights.keep_set_ids()?;
            }
            sys::change_mode(proc_fd, &name, mode)
        }
        Change::Times(Times { accessed, modified }) => utimensat(
            proc_fd,
            name.as_str(),
            &accessed,
            &modified,
            UtimensatFlags::FollowSymlink,
        ),
    }
}
