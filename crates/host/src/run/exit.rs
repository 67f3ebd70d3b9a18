//! The end of a program: by itself, by its timeout, or by its caller's abort.

use std::time::Duration;

use agent_vm_protocol::message::{Call, Exit, Request, Target};
use tokio::sync::{oneshot, watch};

use crate::abort::Abort;
use crate::control::Control;
use crate::events::{ExitStatus, Reason};

/// How a program ended, and what ended it.
pub(super) struct ProgramEnd {
    /// The status that init reported; `None` if the VM ended first.
    pub exit: Option<Exit>,
    /// Whether it was killed by its timeout.
    pub timed_out: bool,
    /// Whether it was killed because its caller aborted it.
    pub aborted: bool,
}

impl ProgramEnd {
    /// The exit status as callers get it.
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

/// Waits for a program's end. After its timeout, or on `abort`, kills everything that the program started and returns
/// when none of that is left. Sets `exited` at the end.
pub(super) async fn until_exit(
    control: &Control,
    call: Call,
    mut exit: oneshot::Receiver<Exit>,
    timeout: Option<Duration>,
    abort: Option<&Abort>,
    exited: watch::Sender<bool>,
) -> ProgramEnd {
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => std::future::pending().await,
        }
    };
    let aborted = async {
        match abort {
            Some(abort) => abort.aborted().await,
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
    // There is no receiver if all streams have already ended.
    exited.send_replace(true);
    ProgramEnd {
        exit,
        timed_out,
        aborted: was_aborted,
    }
}

/// Kills everything that a program started; returns when none of it is left.
pub(super) async fn kill_all(control: &Control, family: Call) {
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
