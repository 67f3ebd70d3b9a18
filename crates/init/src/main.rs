//! PID 1 of an agent-vm.
//!
//! The host starts one with the control socket as descriptor 3, and has it copy itself into new namespaces for each VM
//! ([`launch`]). The copy builds the sandbox ([`boot`]) and gives up every right that it had for that. From then on it
//! starts, signals and reaps programs for the host ([`vm`]). It ends when its control socket does, and then the kernel
//! ends the VM.
//!
//! It has one thread and handles no data: what programs read and write goes through descriptors that init sends to the
//! host.

mod boot;
mod control;
mod deputy;
mod family;
mod files;
mod helper;
mod jobs;
mod keeper;
mod landlock_domain;
mod launch;
mod map_ids;
mod mediate;
mod merge;
mod meter;
mod network;
mod process_table;
mod seccomp;
mod signal;
mod spawn;
mod sys;
mod vm;

use std::process::ExitCode;

use agent_vm_protocol::message::{Boot, BootStep, Hold, Reply, Request};
use agent_vm_vfork::sys::Child;
use nix::errno::Errno;
use nix::unistd::setsid;

use crate::boot::{BootError, HeldFiles};
use crate::control::{Attachments, Control, ControlError};
use crate::launch::{Side, Unmade};
use crate::vm::Vm;

/// Why the VM ended before it began.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("descriptor 3 is not the control socket")]
    Socket(#[source] Errno),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("waiting for the control socket failed")]
    Wait(#[source] Errno),
    #[error("the server's ids cannot be taken back")]
    Ids(#[source] Errno),
    #[error("the first request is not to boot")]
    NotBoot,
    #[error(transparent)]
    Boot(#[from] BootError),
}

fn main() -> ExitCode {
    // The host learns of an error here only by the closed socket; the message is for developers.
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            sys::log(&error);
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<(), Fatal> {
    sys::reset_signals();
    sys::set_name(sys::ZYGOTE_NAME);
    // So that the server's Ctrl-C does not reach it. It fails if this process is a session leader already.
    let _ = setsid();
    let control = Control::new(sys::control_socket().map_err(Fatal::Socket)?);
    let Some((mut control, request, mut attachments)) = await_boot(control)? else {
        return Ok(());
    };
    if request.env.is_some() {
        sys::set_name(sys::NAME);
    }

    let booted = boot::boot(&request, &mut attachments).and_then(|mut booted| {
        let proc_fd = booted
            .proc_fd
            .try_clone()
            .map_err(|error| BootError::new(BootStep::ShareProc, &error))?;
        let listener_fd = booted.listener_fd.take();
        let fds = [Some(proc_fd), listener_fd].into_iter().flatten().collect();
        Ok((Vm::new(*request, booted)?, fds))
    });
    drop(attachments);
    match booted {
        Ok((vm, fds)) => {
            let helpers = vm.helpers();
            control.send(&Reply::Ready { helpers }, fds)?;
            Ok(vm.run(control)?)
        }
        Err(error) => Err(refuse(&mut control, error)),
    }
}

/// Waits for the boot request, and copies this process for each launch request before that. Returns the control socket,
/// the boot request and its descriptors, in the zygote or in a copy; `None` if the host has closed the socket.
fn await_boot(mut control: Control) -> Result<Option<(Control, Box<Boot>, Attachments)>, Fatal> {
    loop {
        let (request, attachments) = match control.receive() {
            Ok(Some(received)) => received,
            Ok(None) => {
                sys::wait_readable(&control).map_err(Fatal::Wait)?;
                continue;
            }
            Err(ControlError::Closed) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let launch = match request {
            Request::Boot(boot) => return Ok(Some((control, boot, attachments))),
            Request::Launch(launch) => launch,
            Request::DescribeHardware { directories } => {
                let (can_clone, fds) =
                    boot::hardware::describe(&directories).map_err(|error| refuse(&mut control, error))?;
                control.send(&Reply::HardwareDescribed { can_clone }, fds)?;
                control.drain()?;
                return Ok(None);
            }
            Request::Hold(wanted) => return hold(control, &wanted).map(|()| None),
            Request::Keep(wanted) => {
                return Ok(keeper::run(control, &wanted, attachments).map(|()| None)?);
            }
            Request::MapIds(wanted) => {
                control.send(&map_ids::run(&wanted), Vec::new())?;
                return Ok(control.drain().map(|()| None)?);
            }
            Request::MergeLayers(wanted) => {
                let merged = merge::run(&wanted, attachments).map_err(|error| refuse(&mut control, error))?;
                control.send(&Reply::Merged, vec![merged])?;
                return Ok(control.drain().map(|()| None)?);
            }
            _ => return Err(Fatal::NotBoot),
        };
        match launch::launch(&launch, attachments) {
            Ok(Side::Zygote(Child { pid, pidfd, .. })) => {
                control.send(&Reply::Launched { pid }, pidfd.into_iter().collect())?;
                control.drain()?;
            }
            Err(Unmade::Lost(errno)) => return Err(Fatal::Ids(errno)),
            Err(Unmade::Copy(errno)) => launch_failed(&mut control, errno, false)?,
            Err(Unmade::Ids(errno)) => launch_failed(&mut control, errno, true)?,
            Ok(Side::Copy {
                socket,
                mut attachments,
            }) => {
                sys::set_name(sys::SPARE_NAME);
                // This closes the zygote's socket.
                control = Control::new(socket);
                if let Err(error) = launch::settle(&launch, &mut attachments) {
                    return Err(refuse(&mut control, error));
                }
                if launch.reports {
                    control.send(&Reply::Settled, Vec::new())?;
                    control.drain()?;
                }
            }
        }
    }
}

/// Holds a tree of files until the host closes the socket.
fn hold(mut control: Control, wanted: &Hold) -> Result<(), Fatal> {
    sys::set_name(sys::HOLDER_NAME);
    let tree = match HeldFiles::make(wanted) {
        Ok(tree) => tree,
        Err(error) => return Err(refuse(&mut control, error)),
    };
    control.send(&Reply::Held, Vec::new())?;
    loop {
        control.drain()?;
        match control.receive() {
            Ok(Some((Request::HandOut, _))) => match tree.hand_out() {
                Ok(mounts) => control.send(&Reply::Held, mounts)?,
                Err(error) => return Err(refuse(&mut control, error)),
            },
            Ok(Some(_)) => return Err(Fatal::NotBoot),
            Ok(None) => sys::wait_readable(&control).map_err(Fatal::Wait)?,
            Err(ControlError::Closed) => return Ok(()),
            Err(error) => return Err(error.into()),
        }
    }
}

fn launch_failed(control: &mut Control, errno: Errno, ids: bool) -> Result<(), ControlError> {
    let errno = errno as i32;
    control.send(&Reply::LaunchFailed { errno, ids }, Vec::new())
}

/// Reports to the host why there is no VM.
fn refuse(control: &mut Control, error: BootError) -> Fatal {
    let reply = Reply::BootFailed {
        step: error.step.clone(),
        errno: error.errno as i32,
    };
    match control.send(&reply, Vec::new()) {
        Ok(()) => error.into(),
        Err(unsent) => unsent.into(),
    }
}
