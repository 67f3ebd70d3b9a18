//! Calls that a filter cannot judge, because the file decides and a filter sees a path or a descriptor as a number. The kernel
//! asks init about them (`seccomp_unotify(2)`), and init does them itself, on its own copy of the arguments: it opens the file
//! for its path, looks at what it has opened, and changes that. It never lets the program's call go on, whose arguments may
//! have changed since.
//!
//! In a VM that shows directories of the host, or has the host's network, these are the calls that give a file a mode with a
//! set-id bit: the VM's own files may have any, those of the host none, except that directories may be set-group-id.
//!
//! In a VM without namespaces these are all calls that change a file's mode or times. Landlock does not look at them
//! (`landlock(7)`), and a VM whose user is the server's own could otherwise change the mode of whatever is that user's. Init does
//! them for files below the VM's directory alone, all of which are the host's. It resolves each path below the directory
//! (`RESOLVE_BENEATH`), so no link, no `..` and no race leads out. An absolute symbolic link is refused as well, even one that
//! leads back in.
//!
//! There the kernel also asks about calls that may open one of a few files to read them ([`replaced`]). A filter cannot read a path,
//! but these come from few places: the C library's own copy of the path, or the arguments of a program, which are where
//! the first stack is. Of those calls, the ones that name another file go on as if nobody had asked: Landlock judges them.

mod arguments;
mod ground;
mod replaced;
mod sys;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::FileExt;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::fcntl::{OFlag, openat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{Mode, UtimensatFlags, utimensat};

use self::arguments::{Change, Request, Times};

pub use ground::{Ground, OwnMounts};
pub use replaced::Replaced;
pub use sys::{Asked, listen};

/// `PATH_MAX`, with the byte that ends it.
const PATH_BOUND: usize = 4096;

/// Calls of one source that are answered before init turns to something else, and how long that may take: a path can be long
/// to resolve.
const TURN: usize = 64;
const TURN_TIME: Duration = Duration::from_millis(5);

/// Where the kernel asks: one descriptor for init's own filter, or one for each deputy that there was, as long as a program of
/// its lives.
#[derive(Debug, Default)]
pub struct Listeners {
    fds: Vec<OwnedFd>,
}

impl Listeners {
    /// Adds some.
    pub fn extend(&mut self, fds: Vec<OwnedFd>) {
        self.fds.extend(fds);
    }

    /// Readable where a call waits.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd)
    }

    /// Answers calls that wait, a turn's worth of each source. `proc_fd` is a `/proc` that shows programs and init.
    pub fn serve(&mut self, proc_fd: BorrowedFd<'_>, ground: &Ground<'_>) {
        self.fds.retain(|listener| {
            let begun = Instant::now();
            for _ in 0..TURN {
                if begun.elapsed() > TURN_TIME {
                    break;
                }
                let mut watched = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
                match poll(&mut watched, PollTimeout::ZERO) {
                    Ok(0) | Err(_) => return true,
                    Ok(_) => {}
                }
                // Otherwise nobody is left under that filter.
                if !watched[0]
                    .revents()
                    .is_some_and(|events| events.contains(PollFlags::POLLIN))
                {
                    return false;
                }
                if let Err(errno) = answer(listener.as_fd(), proc_fd, ground) {
                    crate::sys::log(&errno);
                }
            }
            true
        });
    }
}

fn answer(listener: BorrowedFd<'_>, proc_fd: BorrowedFd<'_>, ground: &Ground<'_>) -> Result<(), Errno> {
    let asked = match sys::receive(listener) {
        Ok(asked) => asked,
        // The caller has been killed since, or a signal came.
        Err(Errno::ENOENT | Errno::EINTR) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let answered = match (sys::Open::of(&asked), ground.replaced()) {
        (Some(open), Some(replaced)) => answer_open(&asked, &open, listener, proc_fd, replaced),
        // No filter asks about these where no file is replaced.
        (Some(_), None) => sys::reply(listener, &asked, Some(Errno::EPERM)),
        (None, _) => {
            let result =
                caller(&asked, listener, proc_fd).and_then(|caller| change(&asked, &caller, proc_fd, ground));
            sys::reply(listener, &asked, result.err())
        }
    };
    match answered {
        Ok(()) | Err(Errno::ENOENT) => Ok(()),
        Err(errno) => Err(errno),
    }
}

/// Hands over the file that stands for the one that is named, or lets the call go on: whatever its path becomes meanwhile,
/// Landlock judges it.
fn answer_open(
    asked: &Asked,
    open: &sys::Open,
    listener: BorrowedFd<'_>,
    proc_fd: BorrowedFd<'_>,
    replaced: &Replaced,
) -> Result<(), Errno> {
    let path = caller(asked, listener, proc_fd).and_then(|caller| caller.read_string(open.path));
    match path.ok().and_then(|path| replaced.open(path.to_bytes())) {
        Some(Ok(fd)) => match sys::reply_with(listener, asked, fd.as_fd(), open.closes_on_exec) {
            Ok(()) => Ok(()),
            // The program has no room for a descriptor, or is gone.
            Err(errno) => sys::reply(listener, asked, Some(errno)),
        },
        Some(Err(errno)) => sys::reply(listener, asked, Some(errno)),
        None => sys::go_on(listener, asked),
    }
}

fn caller(asked: &Asked, listener: BorrowedFd<'_>, proc_fd: BorrowedFd<'_>) -> Result<Caller, Errno> {
    // The thread's directory is opened before the kernel confirms that it is still the one that asked: its number may be
    // another's by then, but the descriptor is not.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let caller_fd =
        openat(proc_fd, asked.pid.to_string().as_str(), flags, Mode::empty()).map_err(|_| Errno::EPERM)?;
    sys::confirm(listener, asked)?;
    Ok(Caller { fd: caller_fd })
}

fn change(asked: &Asked, caller: &Caller, proc_fd: BorrowedFd<'_>, ground: &Ground<'_>) -> Result<(), Errno> {
    let request = Request::read(asked, caller)?;
    let file_fd = ground.find(caller, &request.named)?;
    // By way of /proc, which is how a descriptor that was opened for its path alone is named.
    let name = format!("self/fd/{}", file_fd.as_raw_fd());
    match request.change {
        Change::Mode(mode) => {
            ground.takes(file_fd.as_fd(), mode)?;
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

/// The thread that made the call, by its directory in `/proc`.
pub struct Caller {
    fd: OwnedFd,
}

impl Caller {
    fn fd(&self) -> &OwnedFd {
        &self.fd
    }

    /// Reads `buffer.len()` bytes of its memory.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.memory()?
            .read_exact_at(buffer, address)
            .map_err(|_| Errno::EFAULT)
    }

    /// Reads the string at `address`.
    fn read_string(&self, address: u64) -> Result<CString, Errno> {
        const PAGE: usize = 4096;
        let memory = self.memory()?;
        let mut bytes = Vec::new();
        while bytes.len() < PATH_BOUND {
            // Reads up to the end of a page, because the next page may not exist.
            let from = address.wrapping_add(bytes.len() as u64);
            let mut page = vec![0; PAGE - from as usize % PAGE];
            let length = memory.read_at(&mut page, from).map_err(|_| Errno::EFAULT)?;
            if length == 0 {
                return Err(Errno::EFAULT);
            }
            bytes.extend_from_slice(&page[..length]);
            if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
                bytes.truncate(end);
                return CString::new(bytes).map_err(|_| Errno::EINVAL);
            }
        }
        Err(Errno::ENAMETOOLONG)
    }

    fn memory(&self) -> Result<File, Errno> {
        // A program that made itself untraceable is not init's to read either.
        openat(&self.fd, "mem", OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
            .map(File::from)
            .map_err(|_| Errno::EPERM)
    }

    /// What its descriptor `number` refers to, or else its working directory, opened for its path.
    fn open(&self, number: Option<i32>) -> Result<OwnedFd, Errno> {
        let link = number.map_or_else(|| "cwd".to_owned(), |number| format!("fd/{number}"));
        let flags = OFlag::O_PATH | OFlag::O_CLOEXEC;
        openat(&self.fd, link.as_str(), flags, Mode::empty()).map_err(|errno| match errno {
            Errno::ENOENT => Errno::EBADF,
            _ => Errno::EPERM,
        })
    }
}
