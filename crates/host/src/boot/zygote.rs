//! The process that every init of this server is a copy of.
//!
//! The first boot starts it. It runs outside of every VM with the server's own rights, and copies itself on request, in
//! a third of the time that starting init's program takes. The copies are children of this process. The zygote ends
//! when the server does, because that closes its socket.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;

use agent_vm_protocol::channel::{Channel, DESCRIPTORS_DEADLINE, Frame};
use agent_vm_protocol::message::{Launch, Reply, Request};
use nix::unistd::{getegid, geteuid};
use parking_lot::Mutex;

use super::error::BootError;
use super::exchange::{await_reply, no_room, unasked};
use super::image::Image;
use super::init_process::InitProcess;
use super::options::Options;
use super::sys::{self, LaunchError, LaunchStep};

static ZYGOTE: Mutex<Option<Zygote>> = Mutex::new(None);

/// What a zygote is started from. If any of it changes, a new zygote is started.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    /// The init program's file.
    pub init: PathBuf,
    /// The level at which init logs to standard error, if any.
    pub log: Option<String>,
    /// The uid and gid of this process.
    pub user: (u32, u32),
}

impl Program {
    /// The program for `options` and the current user of this process.
    pub fn of(options: &Options) -> Self {
        Self {
            init: options.init.clone(),
            log: options.log.clone(),
            user: (geteuid().as_raw(), getegid().as_raw()),
        }
    }
}

struct Zygote {
    channel: Channel,
    program: Program,
    _process: InitProcess,
}

/// Why a copy was not made.
enum NotCopied {
    /// The zygote is gone, or its answers make no sense.
    Lost(BootError),
    /// The copy was refused.
    Refused(BootError),
}

/// Starts an init: returns its process, and the host's end of its control socket. `cgroup_fds` are the descriptors that
/// `launch` names.
pub fn launch(
    program: &Program,
    launch: &Launch,
    cgroup_fds: &[BorrowedFd<'_>],
) -> Result<(InitProcess, Channel), BootError> {
    let mut zygote = ZYGOTE.lock();
    if let Some(running) = zygote.as_ref().filter(|running| running.program == *program) {
        match running.launch(launch, cgroup_fds) {
            Err(NotCopied::Lost(error)) => tracing::warn!(?error, "the zygote is lost"),
            Err(NotCopied::Refused(error)) => return Err(error),
            Ok(launched) => return Ok(launched),
        }
    }
    // The old one ends first.
    *zygote = None;
    let started = zygote.insert(Zygote::start(program)?);
    match started.launch(launch, cgroup_fds) {
        Ok(launched) => Ok(launched),
        Err(NotCopied::Refused(error)) => Err(error),
        Err(NotCopied::Lost(error)) => {
            *zygote = None;
            Err(error)
        }
    }
}

impl Zygote {
    fn start(program: &Program) -> Result<Self, BootError> {
        let (channel, control) = Channel::pair().map_err(BootError::Channel)?;
        let image = Image::of(&program.init)?;
        let started = sys::launch(&sys::InitLaunch {
            image: image.as_fd(),
            control: control.into(),
            log: program.log.as_deref(),
        })?;
        // From here on, dropping this ends the process.
        let process = InitProcess {
            pid: started.pid,
            pidfd: started.pidfd.ok_or_else(unasked)?,
        };
        image.retire()?;
        Ok(Self {
            channel,
            program: program.clone(),
            _process: process,
        })
    }

    fn launch(
        &self,
        launch: &Launch,
        cgroup_fds: &[BorrowedFd<'_>],
    ) -> Result<(InitProcess, Channel), NotCopied> {
        let refused = |error: io::Error| NotCopied::Refused(BootError::Channel(error));
        let (channel, control) = Channel::pair().map_err(refused)?;
        let mut fds: Vec<OwnedFd> = vec![control.into()];
        for fd in cgroup_fds {
            fds.push(fd.try_clone_to_owned().map_err(refused)?);
        }
        let frame = Frame::new(&Request::Launch(launch.clone()), fds)
            .map_err(|error| NotCopied::Refused(error.into()))?;
        let sent = self.channel.send_patiently(&frame, DESCRIPTORS_DEADLINE);
        sent.map_err(|error| match error.kind() {
            io::ErrorKind::BrokenPipe | io::ErrorKind::ConnectionReset => {
                NotCopied::Lost(BootError::Channel(error))
            }
            _ => refused(error),
        })?;
        match await_reply(&self.channel).map_err(NotCopied::Lost)? {
            (Reply::Launched { pid }, fds) => {
                if let Some(pidfd) = fds.into_iter().next() {
                    return Ok((InitProcess { pid, pidfd }, channel));
                }
                // Without a socket the copy ends by itself.
                drop(channel);
                sys::reap_child(pid);
                Err(NotCopied::Refused(no_room()))
            }
            (Reply::LaunchFailed { errno, ids: true }, _) => Err(NotCopied::Refused(BootError::Maps(
                io::Error::from_raw_os_error(errno),
            ))),
            (Reply::LaunchFailed { errno, ids: false }, _) => Err(NotCopied::Refused(
                LaunchError {
                    step: LaunchStep::Clone,
                    errno,
                }
                .into(),
            )),
            _ => Err(NotCopied::Lost(unasked())),
        }
    }
}
