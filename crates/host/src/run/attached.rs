//! The descriptors that init attaches when it has started a program.

use std::os::fd::{AsFd, OwnedFd};
use std::sync::Arc;

use agent_vm_protocol::message::{MorePipes, PipeDirection};

use crate::error::Error;
use crate::input::Input;
use crate::stream::{Source, StreamKind};
use crate::{runtime, sys};

/// The host's end of a pipe of a program beside its standard streams.
pub(super) enum MorePipe {
    Input(Arc<Input>),
    Output(Source),
}

/// The host's ends of the pipes of a program.
pub(super) struct Pipes {
    pub stdin: Arc<Input>,
    pub stdout: Source,
    pub stderr: Source,
    /// By their numbers in the program.
    pub more: Vec<(u8, MorePipe)>,
}

/// The host's side of a program's terminal.
pub(super) struct TerminalEnds {
    pub input: Arc<Input>,
    pub output: Source,
    /// The descriptor of the terminal's master that `input` writes to.
    pub master_fd: Arc<OwnedFd>,
}

impl Pipes {
    /// Takes over the descriptors that init attached for [`Stdio::Pipes`](agent_vm_protocol::message::Stdio::Pipes),
    /// and writes `stdin`.
    pub fn open(fds: Vec<OwnedFd>, stdin: &[u8]) -> Result<Self, Error> {
        Self::open_with(fds, stdin, MorePipes::default())
    }

    /// The same for [`Stdio::MorePipes`](agent_vm_protocol::message::Stdio::MorePipes).
    pub fn open_with(fds: Vec<OwnedFd>, stdin: &[u8], more: MorePipes) -> Result<Self, Error> {
        let mut fds = fds.into_iter();
        let input = fds.next().ok_or_else(Error::missing_descriptor)?;
        let input = Input::new(input).map_err(|error| Error::system(&error, "ioctl"))?;
        let (stdout, stderr) = (open_source(fds.next())?, open_source(fds.next())?);
        let more = more
            .iter()
            .map(|(number, direction)| Ok((number, MorePipe::open(fds.next(), direction)?)))
            .collect::<Result<_, Error>>()?;
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        // A program may end without reading its input.
        drop(input.write(stdin, runtime)?);
        Ok(Self {
            stdin: input,
            stdout,
            stderr,
            more,
        })
    }

    /// Takes over the descriptor that init attached for [`Stdio::Output`](agent_vm_protocol::message::Stdio::Output).
    pub fn open_output(fds: Vec<OwnedFd>) -> Result<Self, Error> {
        let mut fds = fds.into_iter();
        Ok(Self {
            stdin: Input::closed(),
            stdout: open_source(fds.next())?,
            stderr: open_source(fds.next())?,
            more: Vec::new(),
        })
    }
}

impl MorePipe {
    fn open(fd: Option<OwnedFd>, direction: PipeDirection) -> Result<Self, Error> {
        Ok(match direction {
            PipeDirection::Input => {
                let fd = fd.ok_or_else(Error::missing_descriptor)?;
                Self::Input(Input::new(fd).map_err(|error| Error::system(&error, "ioctl"))?)
            }
            PipeDirection::Output => Self::Output(open_source(fd)?),
        })
    }
}

impl TerminalEnds {
    /// Takes over the descriptor that init attached for
    /// [`Stdio::Terminal`](agent_vm_protocol::message::Stdio::Terminal).
    pub fn open(fds: Vec<OwnedFd>) -> Result<Self, Error> {
        let master = fds.into_iter().next().ok_or_else(Error::missing_descriptor)?;
        // A copy, because an epoll(7) instance takes a descriptor only once, and reading and writing are watched
        // separately.
        let writing = master.try_clone().map_err(|error| Error::system(&error, "dup"))?;
        let master_fd = Arc::new(writing);
        let output =
            Source::new(master, StreamKind::Terminal).map_err(|error| Error::system(&error, "epoll_ctl"))?;
        let input = Input::new(Arc::clone(&master_fd)).map_err(|error| Error::system(&error, "ioctl"))?;
        Ok(Self {
            input,
            output,
            master_fd,
        })
    }
}

/// Takes over the output pipe of a program.
pub(super) fn open_source(fd: Option<OwnedFd>) -> Result<Source, Error> {
    let fd = fd.ok_or_else(Error::missing_descriptor)?;
    Source::new(fd, StreamKind::Pipe).map_err(|error| Error::system(&error, "epoll_ctl"))
}

/// The output pipe of a program that has ended, set to non-blocking.
///
/// # Errors
/// EINVAL if it is not a pipe: reading it could block or never end.
pub(super) fn ended_pipe(fd: Option<OwnedFd>) -> Result<OwnedFd, Error> {
    let fd = fd.ok_or_else(Error::missing_descriptor)?;
    if !sys::is_pipe(fd.as_fd()) {
        return Err(Error::System {
            errno: libc::EINVAL,
            syscall: "fstat".into(),
            path: None,
        });
    }
    sys::set_nonblocking(fd.as_fd()).map_err(|error| Error::system(&error, "ioctl"))?;
    Ok(fd)
}
