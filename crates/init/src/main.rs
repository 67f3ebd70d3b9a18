//! PID 1 of an agent-vm.
//!
//! The host starts it in fresh namespaces with the control socket as descriptor 3. It makes the sandbox ([`boot`]), gives
//! up every right it had for that, and from then on starts, signals and reaps programs on the host's behalf ([`vm`]). It
//! ends when the control socket does, and the kernel ends the VM with it.
//!
//! One thread, no data: what programs read and write goes through descriptors that are handed over, never through init.

mod boot;
mod control;
mod deputy;
mod family;
mod files;
mod jobs;
mod mediate;
mod network;
mod process_table;
mod seccomp;
mod signal;
mod spawn;
mod sys;
mod vm;
mod walls;

use std::process::ExitCode;

use agent_vm_protocol::message::{Isolation, Reply, Request};
use nix::errno::Errno;

use crate::control::{Attachments, Control, ControlError};
use crate::vm::Vm;

/// Why a VM was over before it began.
#[derive(Debug, thiserror::Error)]
enum Fatal {
    #[error("descriptor 3 is not the control socket")]
    Socket(#[source] Errno),
    #[error(transparent)]
    Control(#[from] ControlError),
    #[error("waiting for the control socket failed")]
    Wait(#[source] Errno),
    #[error("the first request is not to boot")]
    NotBoot,
    #[error(transparent)]
    Boot(#[from] boot::BootError),
}

fn main() -> ExitCode {
    // What happens here has nobody to be told to but the host, which sees the socket close; the log is for developers.
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
    sys::set_name(sys::SPARE_NAME);
    let mut control = Control::new(sys::control_socket().map_err(Fatal::Socket)?);
    let (request, mut attachments) = first_request(&mut control)?;
    let Request::Boot(request) = request else {
        return Err(Fatal::NotBoot);
    };
    if request.env.is_some() {
        sys::set_name(sys::NAME);
    }

    let booted = boot::boot(&request, &mut attachments).and_then(|mut booted| {
        let proc_fd = booted
            .proc_fd
            .try_clone()
            .map_err(|error| boot::BootError::new("share /proc", &error))?;
        let listener_fd = booted.listener_fd.take();
        let fds = [Some(proc_fd), listener_fd].into_iter().flatten().collect();
        Ok((Vm::new(*request, booted)?, fds))
    });
    drop(attachments);
    match booted {
        Ok((vm, fds)) => {
            let deputy = vm.deputy();
            control.send(&Reply::Ready { deputy }, fds)?;
            Ok(vm.run(control)?)
        }
        Err(error) => {
            let reply = Reply::BootFailed {
                step: error.step.clone().into_owned(),
                errno: error.errno as i32,
                path: error.path.clone(),
            };
            control.send(&reply, Vec::new())?;
            Err(error.into())
        }
    }
}

fn first_request(control: &mut Control) -> Result<(Request, Attachments), Fatal> {
    loop {
        if let Some(request) = control.receive()? {
            return Ok(request);
        }
        sys::wait_readable(control).map_err(Fatal::Wait)?;
    }
}

/// Whether a VM of this kind has a pid namespace of its own, which the kernel ends with init.
fn has_pid_namespace(isolation: Isolation) -> bool {
    isolation == Isolation::Namespaces
}
