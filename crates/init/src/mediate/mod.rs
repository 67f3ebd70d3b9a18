//! Calls that neither Landlock nor a filter can judge, in a VM without namespaces: those that change a file's mode or
//! times by its path. Landlock does not look at them (`landlock(7)`), and a filter sees a path as a number. A VM whose user
//! is the server's own could otherwise change the mode of whatever is that user's.
//!
//! So the kernel asks init (`seccomp_unotify(2)`), and init does the call itself, on its own copy of the arguments, for
//! files below the VM's folder alone. It never lets the program's call go on, whose arguments may have changed since.
//!
//! Init resolves each path below the folder (`RESOLVE_BENEATH`), so no link, no `..` and no race leads out. An absolute
//! symbolic link is refused as well, even one that leads back in.
//!
//! The kernel also asks about calls that may open one of a few files to read them ([`replaced`]). A filter cannot read a path,
//! but these come from few places: the C library's own copy of the path, or the arguments of a program, which are where
//! the first stack is. Of those calls, the ones that name another file go on as if nobody had asked: Landlock judges them.

mod arguments;
mod replaced;
mod sys;

use std::ffi::CString;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileExt;
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, OFlag, ResolveFlag, openat, readlinkat};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::stat::{FchmodatFlags, Mode, UtimensatFlags, fchmodat, fstat, utimensat};

use self::arguments::{Change, Named, Request, Times};
use crate::sys::openat2;

pub use replaced::Replaced;
pub use sys::{Asked, listen};

/// `PATH_MAX`, with the byte that ends it.
const PATH_BOUND: usize = 4096;

/// Calls of one source that are answered before init turns to something else.
const TURN: usize = 64;

/// Where the kernel asks: one descriptor for each deputy that there was, as long as a program of its lives.
#[derive(Debug, Default)]
pub struct Listeners {
    fds: Vec<OwnedFd>,
}

impl Listeners {
    /// Adds those of a new deputy.
    pub fn extend(&mut self, fds: Vec<OwnedFd>) {
        self.fds.extend(fds);
    }

    /// Readable where a call waits.
    pub fn fds(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.fds.iter().map(AsFd::as_fd)
    }

    /// Answers calls that wait, a turn's worth of each source. `proc_fd` is the host's `/proc`, `folder` the VM's.
    pub fn serve(&mut self, proc_fd: BorrowedFd<'_>, folder: BorrowedFd<'_>, replaced: &Replaced) {
        self.fds.retain(|listener| {
            for _ in 0..TURN {
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
                if let Err(errno) = answer(listener.as_fd(), proc_fd, folder, replaced) {
                    crate::sys::log(&errno);
                }
            }
            true
        });
    }
}

fn answer(
    listener: BorrowedFd<'_>,
    proc_fd: BorrowedFd<'_>,
    folder: BorrowedFd<'_>,
    replaced: &Replaced,
) -> Result<(), Errno> {
    let asked = match sys::receive(listener) {
        Ok(asked) => asked,
        // Whoever asked has been killed since, or a signal came.
        Err(Errno::ENOENT | Errno::EINTR) => return Ok(()),
        Err(errno) => return Err(errno),
    };
    let answered = if let Some(open) = sys::Open::of(&asked) {
        answer_open(&asked, &open, listener, proc_fd, replaced)
    } else {
        let result =
            caller(&asked, listener, proc_fd).and_then(|caller| change(&asked, &caller, folder, replaced));
        sys::reply(listener, &asked, result.err())
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
    // The thread's folder is opened before the kernel confirms that it is still the one that asked: its number may be
    // another's by then, but the descriptor is not.
    let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    let caller_fd =
        openat(proc_fd, asked.pid.to_string().as_str(), flags, Mode::empty()).map_err(|_| Errno::EPERM)?;
    sys::confirm(listener, asked)?;
    Ok(Caller { fd: caller_fd })
}

fn change(asked: &Asked, caller: &Caller, folder: BorrowedFd<'_>, replaced: &Replaced) -> Result<(), Errno> {
    let request = Request::read(asked, caller)?;
    let file_fd = match &request.named {
        Named::Path {
            directory,
            path,
            follow,
        } => below(folder, caller, *directory, path, *follow)?,
        Named::Descriptor(number) => held(folder, caller, replaced, *number)?,
    };
    // By way of /proc, which is how a descriptor that was opened for its path alone is named.
    let name = format!("/proc/self/fd/{}", file_fd.as_raw_fd());
    match request.change {
        Change::Mode(mode) => fchmodat(
            AT_FDCWD,
            name.as_str(),
            Mode::from_bits_truncate(mode & 0o7777),
            FchmodatFlags::FollowSymlink,
        ),
        Change::Times(Times { accessed, modified }) => utimensat(
            AT_FDCWD,
            name.as_str(),
            &accessed,
            &modified,
            UtimensatFlags::FollowSymlink,
        ),
    }
}

/// The thread that made the call, by its folder in `/proc`.
pub struct Caller {
    fd: OwnedFd,
}

impl Caller {
    /// `buffer.len()` bytes of its memory.
    fn read(&self, address: u64, buffer: &mut [u8]) -> Result<(), Errno> {
        self.memory()?
            .read_exact_at(buffer, address)
            .map_err(|_| Errno::EFAULT)
    }

    /// The string at `address`.
    fn read_string(&self, address: u64) -> Result<CString, Errno> {
        const PAGE: usize = 4096;
        let memory = self.memory()?;
        let mut bytes = Vec::new();
        while bytes.len() < PATH_BOUND {
            // Up to the end of a page: the next one may not be there.
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

/// The file that a path names, which must lie below the folder.
fn below(
    folder: BorrowedFd<'_>,
    caller: &Caller,
    directory: Option<i32>,
    path: &CString,
    follow: bool,
) -> Result<OwnedFd, Errno> {
    if path.is_empty() {
        return Err(Errno::ENOENT);
    }
    let path = Path::new(std::ffi::OsStr::from_bytes(path.to_bytes()));
    let whole = if path.is_absolute() {
        path.to_owned()
    } else {
        // Where it is by now; should it be moved meanwhile, the call fails or finds what lies there then.
        path_of(caller.open(directory)?.as_fd())?.join(path)
    };
    let inside = whole.strip_prefix(path_of(folder)?).map_err(|_| Errno::EPERM)?;
    resolve(folder, inside, follow)
}

/// The file that a descriptor of the caller's refers to, which must lie below the folder or have no name at all. The files that
/// all programs read in place of the host's have no name either, and stay as they are.
fn held(folder: BorrowedFd<'_>, caller: &Caller, replaced: &Replaced, number: i32) -> Result<OwnedFd, Errno> {
    let fd = caller.open(Some(number))?;
    let found = fstat(&fd)?;
    if found.st_nlink == 0 {
        return if replaced.includes(&found)? {
            Err(Errno::EPERM)
        } else {
            Ok(fd)
        };
    }
    let path = path_of(fd.as_fd())?;
    let inside = path.strip_prefix(path_of(folder)?).map_err(|_| Errno::EPERM)?;
    let there = fstat(resolve(folder, inside, false)?)?;
    if (there.st_dev, there.st_ino) == (found.st_dev, found.st_ino) {
        Ok(fd)
    } else {
        Err(Errno::EPERM)
    }
}

fn resolve(folder: BorrowedFd<'_>, path: &Path, follow: bool) -> Result<OwnedFd, Errno> {
    let path = if path.as_os_str().is_empty() {
        Path::new(".")
    } else {
        path
    };
    let link = if follow { OFlag::empty() } else { OFlag::O_NOFOLLOW };
    let flags = OFlag::O_PATH | OFlag::O_CLOEXEC | link;
    let inside =
        ResolveFlag::RESOLVE_BENEATH | ResolveFlag::RESOLVE_NO_MAGICLINKS | ResolveFlag::RESOLVE_NO_XDEV;
    openat2(folder, path, flags, Mode::empty(), inside).map_err(|errno| match errno {
        // It leads out; EAGAIN says that the kernel could not make sure.
        Errno::EXDEV | Errno::EAGAIN => Errno::EPERM,
        other => other,
    })
}

fn path_of(fd: BorrowedFd<'_>) -> Result<std::path::PathBuf, Errno> {
    let path = readlinkat(AT_FDCWD, format!("/proc/self/fd/{}", fd.as_raw_fd()).as_str())?;
    Ok(path.into())
}
