//! What every started program has in common: how it is asked for, and how it ends.

use std::time::Duration;

use agent_vm_protocol::message::{Call, Exit, Request, Spawn, Stdio, Target};
use tokio::sync::{Notify, oneshot, watch};

use crate::control::Control;
use crate::events::{ExitStatus, Reason};

/// A program to run.
#[derive(Debug, Clone)]
pub struct Program {
    /// A path, or a name to be looked up on the PATH.
    pub file: String,
    /// Its arguments, without its own name.
    pub arguments: Vec<String>,
    /// Added to the VM's environment.
    pub env: Vec<(String, String)>,
    /// The working directory; nothing for the VM's home.
    pub cwd: Option<String>,
}

impl Program {
    /// What starts it.
    pub(crate) fn spawn(self, call: Call, home: &str, stdio: Stdio) -> Spawn {
        Spawn {
            call,
            program: self.file,
            arguments: self.arguments,
            env: self.env,
            cwd: self.cwd.unwrap_or_else(|| home.to_owned()),
            stdio,
            report_background: false,
            brief: false,
        }
    }
}

/// What ended a program, and how.
pub(crate) struct Ended {
    /// As init saw it; nothing if the VM went first.
    pub exit: Option<Exit>,
    /// Whether its time was up.
    pub timed_out: bool,
    /// Whether its caller aborted it.
    pub aborted: bool,
}

/// Waits for a program's end, and brings it about when its time is up or `abort` says so: everything it started is killed
/// then, and none of it is left when this returns. Tells `exited` in the end.
pub(crate) async fn watch_exit(
    control: &Control,
    call: Call,
    mut exit: oneshot::Receiver<Exit>,
    timeout: Option<Duration>,
    abort: Option<&Notify>,
    exited: watch::Sender<bool>,
) -> Ended {
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let aborted = async {
        match abort {
            Some(abort) => abort.notified().await,
            None => std::future::pending().await,
        }
    };
    let (mut timed_out, mut was_aborted) = (false, false);
    let exit = tokio::select! {
        biased;
        exit = &mut exit => exit.ok(),
        () = aborted => {
            was_aborted = true;
            kill_all(control, call).await;
            exit.await.ok()
        }
        () = deadline => {
            timed_out = true;
            kill_all(control, call).await;
            exit.await.ok()
        }
    };
    // Nobody listens if both streams have ended already.
    exited.send_replace(true);
    Ended {
        exit,
        timed_out,
        aborted: was_aborted,
    }
}

/// Kills everything that a started program started; returns when none of it is left.
pub(crate) async fn kill_all(control: &Control, family: Call) {
    let call = control.call();
    if let Err(error) = control
        .ask(
            call,
            Request::Kill {
                call,
                target: Target::Family(family),
            },
            Vec::new(),
        )
        .await
    {
        tracing::debug!(%error, family, "a kill was not carried out");
    }
}

impl Ended {
    /// As users see it.
    pub fn status(&self) -> ExitStatus {
        let Some(exit) = &self.exit else {
            return ExitStatus::DISPOSED;
        };
        let reason = match exit.signal {
            _ if self.timed_out => Reason::Timeout,
            _ if exit.oom && !self.aborted => Reason::Oom,
            0 => Reason::Exited,
            _ => Reason::Signal,
        };
        ExitStatus {
            code: exit.code,
            signal: exit.signal,
            reason,
            user_us: exit.usage.user_us,
            system_us: exit.usage.system_us,
            max_rss_bytes: exit.usage.max_rss_kib.saturating_mul(1024),
        }
    }
}
