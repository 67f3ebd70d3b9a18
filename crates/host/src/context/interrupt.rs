//! How a command is ended before it ends by itself.

use std::future::pending;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::{Call, Interrupt, KnownProcess, Request, Target};
use tokio::sync::watch;

use super::shell_kind::ShellKind;
use crate::abort::Abort;
use crate::control::Control;

/// How long a shell may go on after its command was interrupted, before it is killed.
const GRACE: Duration = Duration::from_secs(1);

/// Between two interrupts: a trap may come when the shell does not heed it.
const AGAIN: Duration = Duration::from_millis(200);

/// How a command is ended before it ends by itself.
pub struct CommandBounds<'a> {
    /// After that long.
    pub timeout: Option<Duration>,
    /// By its caller.
    pub abort: &'a Abort,
    /// By a reset or the deletion of its context: when the number changes.
    pub resets: watch::Receiver<u64>,
}

/// Why a command was ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    TimedOut,
    Aborted,
    Reset,
}

/// Ends the command when its bounds say so. Returns when it is `over`, and nothing more will be killed.
pub async fn interrupt_on(
    control: &Control,
    family: Call,
    kind: ShellKind,
    bounds: &CommandBounds<'_>,
    spared: &[KnownProcess],
    mut over: watch::Receiver<bool>,
) -> Option<Why> {
    let deadline = async {
        match bounds.timeout {
            Some(timeout) => tokio::time::sleep(timeout).await,
            None => pending().await,
        }
    };
    let mut resets = bounds.resets.clone();
    let why = tokio::select! {
        biased;
        _ = over.wait_for(|over| *over) => return None,
        // An error means that the context is gone.
        _ = resets.changed() => Why::Reset,
        () = bounds.abort.aborted() => Why::Aborted,
        () = deadline => Why::TimedOut,
    };
    if why == Why::Reset {
        kill(control, family).await;
    } else {
        let begun = Instant::now();
        while !*over.borrow() {
            let signal = if begun.elapsed() < GRACE {
                kind.interrupt()
            } else {
                libc::SIGKILL
            };
            interrupt(control, family, signal, spared.to_vec()).await;
            tokio::select! {
                biased;
                _ = over.wait_for(|over| *over) => {}
                () = tokio::time::sleep(AGAIN) => {}
            }
        }
    }
    // An error means that nothing waits for it any more.
    drop(over.wait_for(|over| *over).await);
    Some(why)
}

async fn interrupt(control: &Control, family: Call, signal: i32, spared: Vec<KnownProcess>) {
    let call = control.call();
    let request = Request::Interrupt(Box::new(Interrupt {
        call,
        family,
        signal,
        spared,
    }));
    if let Err(error) = control.ask(call, request, Vec::new()).await {
        tracing::debug!(%error, family, "an interrupt was not carried out");
    }
}

/// Kills everything of a family.
pub async fn kill(control: &Control, family: Call) {
    let call = control.call();
    let target = Target::Family(family);
    if let Err(error) = control
        .ask(call, Request::Kill { call, target }, Vec::new())
        .await
    {
        tracing::debug!(%error, family, "a kill was not carried out");
    }
}
