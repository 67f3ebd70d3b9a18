//! Answers each request.

use agent_vm_protocol::message::{Failure, Reply, Request};
use nix::errno::Errno;

use super::Vm;
use super::backend::Backend;
use super::queued_starts::env_size;
use crate::control::{Attachments, Control, ControlError};
use crate::{network, signal, sys};

fn freeze_failed(errno: Errno) -> Failure {
    Failure {
        errno: errno as i32,
        syscall: Failure::FREEZE.into(),
        path: None,
    }
}

impl Vm {
    /// Carries a request out, or begins to.
    pub(super) fn answer(
        &mut self,
        control: &mut Control,
        request: Request,
        attachments: Attachments,
    ) -> Result<(), ControlError> {
        let (call, result) = match request {
            // A host that boots a VM twice has a bug.
            Request::Launch(_)
            | Request::DescribeHardware { .. }
            | Request::Hold(_)
            | Request::HandOut
            | Request::Keep(_)
            | Request::MapIds(_)
            | Request::MergeLayers(_)
            | Request::Boot(_) => {
                return Err(ControlError::Closed);
            }
            Request::Adopt { env } => {
                let Backend::Init(spawner) = &mut self.backend else {
                    return Err(ControlError::Closed);
                };
                self.env_bytes = env_size(&env);
                spawner.set_env(env);
                sys::set_name(sys::NAME);
                return Ok(());
            }
            Request::Spawn(spawn) => return self.begin_start(control, spawn),
            Request::Freeze { call, frozen } => (
                call,
                match self.families.set_frozen(frozen) {
                    Ok(true) => Ok(true),
                    Ok(false) => Err(freeze_failed(Errno::EAGAIN)),
                    // A kernel before 5.2 has no such file.
                    Err(Errno::ENOENT) => Err(freeze_failed(Errno::EOPNOTSUPP)),
                    Err(errno) => Err(freeze_failed(errno)),
                },
            ),
            Request::Signal { call, target, signal } => (
                call,
                signal::send(&self.families, &self.table, target, signal).map(|()| true),
            ),
            Request::Kill { call, target } => {
                let begun = self.jobs.kill(call, target, &self.families, &self.table);
                (call, begun.map(|()| false).map_err(signal::failed))
            }
            Request::Interrupt(interrupt) => {
                let begun = self.jobs.interrupt(&interrupt, &self.families, &self.table);
                (interrupt.call, begun.map(|begun| !begun).map_err(signal::failed))
            }
            Request::HangUp { call, family } => (call, Ok(!self.jobs.hang_up(call, family, &self.families))),
            Request::AwaitEnd { call, family, leader } => {
                self.families.await_end(call, family, leader);
                return Ok(());
            }
            Request::StopAwaiting { call } if self.families.stop_awaiting(call) => (call, Ok(true)),
            Request::StopAwaiting { .. } => return Ok(()),
            Request::StopStart { call } => return self.stop_start(control, call),
            // Without namespaces, init's network is the host's.
            Request::Connect { call, .. } if self.backend.deputy().is_some() => (
                call,
                Err(Failure {
                    errno: Errno::ENETUNREACH as i32,
                    syscall: "connect".into(),
                    path: None,
                }),
            ),
            Request::Connect { call, address } => match network::connect_to(address) {
                Ok(fd) => return control.send(&Reply::Connected { call }, vec![fd]),
                Err(error) => (call, Err(error)),
            },
            Request::Measure { call } => {
                let measures = self.meter.read();
                return control.send(&Reply::Measured { call, measures }, Vec::new());
            }
            Request::TakeLayer { call } => {
                let taken = match &self.layer {
                    Some(layer) => layer.share().map(|fd| (fd, layer.is_unchanged())),
                    None => Err(Errno::EOPNOTSUPP),
                };
                match taken {
                    Ok((fd, unchanged)) => return control.send(&Reply::Layer { call, unchanged }, vec![fd]),
                    Err(errno) => (
                        call,
                        Err(Failure {
                            errno: errno as i32,
                            syscall: "open_tree".into(),
                            path: None,
                        }),
                    ),
                }
            }
            Request::File { call, step } => (call, self.begin_step(call, &step, attachments).map(|()| false)),
        };
        match result {
            Ok(true) => control.send(&Reply::Done { call }, Vec::new()),
            // A job, or a step on files, answers when it has ended.
            Ok(false) => Ok(()),
            Err(error) => control.send(&Reply::Failed { call, error }, Vec::new()),
        }
    }
}
