//! The deputy's own code: enters the Landlock domain, then carries out one errand after another until init is gone.

use std::os::fd::{AsFd, OwnedFd};
use std::time::Duration;

use agent_vm_protocol::message::BootStep;
use agent_vm_protocol::{Channel, Frame, ReceiveError};
use nix::errno::Errno;

use super::errand::{DESCRIPTORS_PATIENCE, DeputyAnswer, DeputyErrand};
use super::sys;
use crate::landlock_domain::{DomainError, LandlockDomain};
use crate::spawn::sys::Child;
use crate::spawn::{Cgroup, Launched, Spawner, patience};
use crate::{helper, mediate, seccomp, sys as main_sys};

/// How many times it kills the remaining processes once init is gone. A single pass kills all, because the kernel lets
/// nothing fork meanwhile; more passes kill what was just entering.
const LAST_PASSES: u32 = 3;

/// Serves errands until init is gone.
pub fn serve(channel: &Channel, domain: &LandlockDomain, spawner: &mut Spawner) {
    match enter(channel, domain, spawner) {
        Ok(listener) => {
            if send(channel, &DeputyAnswer::Ready, vec![listener]) {
                run(channel, spawner);
            }
        }
        Err(error) => {
            let answer = DeputyAnswer::NotReady {
                step: error.step,
                errno: error.errno as i32,
            };
            send(channel, &answer, Vec::new());
            return;
        }
    }
    // Init closed the channel when it ended, or was killed from outside. The processes that it started can no longer be
    // found by descent.
    for _ in 0..LAST_PASSES {
        sys::kill_domain();
        std::thread::sleep(Duration::from_millis(1));
    }
}

fn enter(channel: &Channel, domain: &LandlockDomain, spawner: &Spawner) -> Result<OwnedFd, DomainError> {
    let failed = |step| {
        move |error: std::io::Error| DomainError {
            step,
            errno: main_sys::errno_of(&error),
        }
    };
    domain.enter()?;
    // A process that programs may signal must not have init's descriptors: above all not the control socket, which must
    // be closed when init ends.
    // The only error is that of a kernel before 5.9, which has no Landlock to be in.
    let _ = helper::close_all_but(&[channel.as_fd(), spawner.fd()]);
    // Everything depends on this check: the VM also ends by a signal to all processes that the domain lets this one
    // reach.
    if sys::may_signal_parent() {
        return Err(DomainError {
            step: BootStep::KeepSignalsIn,
            errno: Errno::EOPNOTSUPP,
        });
    }
    seccomp::confine_without_namespaces().map_err(failed(BootStep::InstallDeputyFilter))?;
    mediate::listen(&domain.replaced().path_offsets).map_err(failed(BootStep::AskAboutCalls))
}

fn run(channel: &Channel, spawner: &mut Spawner) {
    let mut buffer = Vec::new();
    // They use this process's memory.
    let mut starting: Vec<Child> = Vec::new();
    loop {
        let (errand, fds) = match channel.receive::<DeputyErrand>(&mut buffer) {
            Ok(Some(errand)) => errand,
            Err(ReceiveError::Socket(error)) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if main_sys::wait_readable(channel).is_err() {
                    return;
                }
                continue;
            }
            Ok(None) | Err(_) => return,
        };
        let (answer, fds) = match errand {
            DeputyErrand::Start {
                spawn,
                mark,
                into,
                join,
            } => {
                let mut fds = fds;
                let join_fd = if join { fds.pop() } else { None };
                let into_fd = if into { fds.pop() } else { None };
                if fds.len() < 2 {
                    // This process has no room for descriptors, and they did not arrive.
                    return;
                }
                let (report_fd, directory_fd) = (fds.remove(0), fds.remove(0));
                let cgroup = Cgroup {
                    into: into_fd.as_ref().map(AsFd::as_fd),
                    join: join_fd.as_ref().map(AsFd::as_fd),
                };
                starting = starting
                    .into_iter()
                    .filter_map(|child| child.outcome().err())
                    .collect();
                let launched = spawner.launch(
                    &spawn,
                    directory_fd.as_fd(),
                    &fds,
                    cgroup,
                    mark,
                    Some(report_fd.as_fd()),
                    patience(!starting.is_empty()),
                );
                match launched {
                    Ok(Launched::Running(pid)) => (DeputyAnswer::Started(pid), Vec::new()),
                    Ok(Launched::Starting(child)) => {
                        let pid = child.pid();
                        starting.push(child);
                        (DeputyAnswer::Starting(pid), Vec::new())
                    }
                    Err(error) => (DeputyAnswer::Failed(error), Vec::new()),
                }
            }
        };
        if !send(channel, &answer, fds) {
            return;
        }
    }
}

/// Returns whether it was sent. There is always room, because init takes each reply before it sends the next errand.
fn send(channel: &Channel, answer: &DeputyAnswer, fds: Vec<OwnedFd>) -> bool {
    Frame::new(answer, fds).is_ok_and(|frame| channel.send_patiently(&frame, DESCRIPTORS_PATIENCE).is_ok())
}
