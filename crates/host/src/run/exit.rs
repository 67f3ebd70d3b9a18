//! The end of a program: by itself, by its timeout, or by its caller's abort.

use std::time::Duration;

use agent_vm_protocol::message::{Call, Exit, Request, Target};
use tokio::sync::{oneshot, watch};

use crate::abort::Abort;
use crate::control::Control;
use crate::events::{ExitStatus, Reason};

/// How long the start of a program may take at least, however short its timeout is.
const SHORTEST_START: Duration = Duration::from_secs(1);

/// When a program is ended, and how.
#[derive(Debug, Clone, Copy)]
pub struct Timeout {
    /// How long the program may run.
    pub after: Duration,
    /// What comes before the kill.
    pub request: Option<EndRequest>,
}

impl Timeout {
    /// How long a program's start may take, in milliseconds: as long as the timeout, but not less than a second. On a busy
    /// machine a program can take as long as a short timeout until it runs.
    pub(super) fn start_ms(self) -> u32 {
        let patience = self.after.max(SHORTEST_START);
        u32::try_from(patience.as_millis()).unwrap_or(u32::MAX)
    }
}

/// A request to a program to end by itself.
#[derive(Debug, Clone, Copy)]
pub struct EndRequest {
    /// The number of the signal.
    pub signal: i32,
    /// How long the program has to end. Then everything that it started is killed.
    pub grace: Duration,
}

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
    timeout: Option<Timeout>,
    abort: Option<&Abort>,
    exited: watch::Sender<bool>,
) -> ProgramEnd {
    let deadline = async {
        match timeout {
            Some(timeout) => tokio::time::sleep(timeout.after).await,
            None => std::future::pending().await,
        }
    };
    let aborted = async {
        match abort {
            Some(abort) => abort.aborted().await,
            None => std::future::pending().await,
        }
    };
    tokio::pin!(aborted);
    let (mut timed_out, mut was_aborted) = (false, false);
    let exit = tokio::select! {
        biased;
        exit = &mut exit => exit.ok(),
        () = &mut aborted => {
            was_aborted = true;
            kill_all(control, call).await;
            exit.await.ok()
        }
        () = deadline => {
            timed_out = true;
            let exited = tokio::select! {
                biased;
                exit = &mut exit => Some(exit.ok()),
                () = &mut aborted => {
                    was_aborted = true;
                    None
                }
                () = ask_to_end(control, call, timeout.and_then(|timeout| timeout.request)) => None,
            };
            kill_all(control, call).await;
            match exited {
                Some(exit) => exit,
                None => exit.await.ok(),
            }
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

/// Sends the signal of a request to a program's process group, and waits for as long as the program has to end.
async fn ask_to_end(control: &Control, family: Call, request: Option<EndRequest>) {
    let Some(EndRequest { signal, grace }) = request else {
        return;
    };
    let call = control.call();
    let target = Target::Family(family);
    let request = Request::Signal { call, target, signal };
    // It fails if the program has just ended, or the VM: both end the wait.
    if let Err(error) = control.ask(call, request, Vec::new()).await {
        tracing::debug!(%error, family, "a program was not asked to end");
    }
    tokio::time::sleep(grace).await;
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
