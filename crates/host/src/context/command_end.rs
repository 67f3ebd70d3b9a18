//! The end of a command: its status from the shell, and from the kernel that the shell waits for the next command.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_vm_protocol::message::Exit;
use tokio::sync::oneshot;

use super::control_socket::ControlSocket;
use super::look::ShellLook;
use crate::guest_threads::GuestThreads;

/// How long a shell that has reported is looked at without a pause, once for each command. It needs a few microseconds of a
/// processor to come to its next read.
const KEEN: Duration = Duration::from_millis(4);

/// How much of that the I/O thread does itself, in turn with its other work.
const KEEN_HERE: Duration = Duration::from_micros(200);

/// How often it looks before it leaves its processor to others, which may keep it for milliseconds.
const LOOKS_AT_ONCE: u32 = 4;

/// Between two looks after that, at first and at most.
const FIRST_PAUSE: Duration = Duration::from_millis(1);
const LONGEST_PAUSE: Duration = Duration::from_millis(16);

/// What became of a command.
pub enum CommandOutcome {
    /// It ended with this status, and the shell waits for the next.
    Ended(i32),
    /// The shell ended, and none of what init says of that if the VM did.
    Gone(Option<Exit>),
}

/// Sends a command, and waits until it has ended.
pub async fn until_end(
    message: &[u8],
    exit: &mut oneshot::Receiver<Exit>,
    socket: &mut ControlSocket,
    look: &Arc<ShellLook>,
    threads: &GuestThreads,
) -> CommandOutcome {
    let exit = match until_waiting_or_gone(message, exit, socket, look, threads).await {
        Ok(status) => {
            // The shell wrote before it waited: a later report counts, and an answer is all there.
            let later = socket.drain();
            return CommandOutcome::Ended(later.unwrap_or(status));
        }
        Err(exit) => exit,
    };
    socket.drain();
    CommandOutcome::Gone(exit)
}

async fn until_waiting_or_gone(
    message: &[u8],
    exit: &mut oneshot::Receiver<Exit>,
    socket: &mut ControlSocket,
    look: &Arc<ShellLook>,
    threads: &GuestThreads,
) -> Result<i32, Option<Exit>> {
    let sent = tokio::select! {
        biased;
        exit = &mut *exit => return Err(exit.ok()),
        sent = socket.send(message) => sent,
    };
    if sent.is_err() {
        return Err(exit.await.ok());
    }
    let mut latest: Option<i32> = None;
    let mut waiting = pin!(until_waiting(look, threads));
    loop {
        tokio::select! {
            biased;
            exit = &mut *exit => return Err(exit.ok()),
            status = socket.report(look) => match status {
                Ok((status, true)) => return Ok(status),
                Ok((status, false)) => {
                    look.know_socket();
                    latest = Some(status);
                }
                // The shell has become another program, or is about to end.
                Err(_) => return Err(exit.await.ok()),
            },
            () = &mut waiting, if latest.is_some() => {
                if let Some(status) = latest {
                    return Ok(status);
                }
            }
        }
    }
}

/// Returns once the shell waits for a command. The I/O thread sees that by itself where the kernel says what the shell sleeps in. To
/// look closer is to wait where the shell is in the middle of `execve`, so another thread does.
async fn until_waiting(look: &Arc<ShellLook>, threads: &GuestThreads) {
    let (begun, mut looks) = (Instant::now(), 0);
    while look.may_see_now() && begun.elapsed() < KEEN_HERE {
        if look.waits_now() {
            return;
        }
        looks += 1;
        if looks > LOOKS_AT_ONCE {
            // The shell may wait for this thread's processor.
            std::thread::yield_now();
        }
        tokio::task::yield_now().await;
    }
    let (mut keen, mut pause) = (KEEN, FIRST_PAUSE);
    loop {
        let look = Arc::clone(look);
        if let Ok(true) = threads.run(move || Ok(look.waits_within(keen))).await {
            return;
        }
        keen = Duration::ZERO;
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}
