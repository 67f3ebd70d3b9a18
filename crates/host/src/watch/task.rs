//! The task of one VM's watches. Nothing of it runs on the I/O thread but the waiting.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::Instant;

use agent_vm_protocol::message::FileStep;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep_until;

use super::inotify::Inotify;
use super::registry::Command;
use super::state::State;
use crate::error::Error;
use crate::shared::Shared;
use crate::sys;

/// The most directories that one VM may watch; at most a quarter of what the kernel lets a user watch, because VMs may share
/// their user.
const MOST: usize = 32_768;
const SHARE: usize = 4;

/// Runs until there is no watch any more, or the VM has ended.
pub async fn run(shared: Arc<Shared>, mut commands: UnboundedReceiver<Command>) {
    // The end of the VM ends the commands. The task is never cancelled: its last step must not be one of the I/O thread.
    if let Err(error) = serve(&shared, &mut commands).await {
        shared.bounds.watches.fail_all(&error);
        commands.close();
        while let Ok(command) = commands.try_recv() {
            if let Command::Start(_, mut watched) = command
                && let Some(ready) = watched.ready.take()
            {
                // A failed send means that the caller no longer waits.
                drop(ready.send(Err(error.clone())));
            }
        }
    }
}

async fn serve(shared: &Arc<Shared>, commands: &mut UnboundedReceiver<Command>) -> Result<(), Error> {
    let inotify_fd = Arc::new(inotify(shared).await?);
    let registered = sys::watch(Arc::clone(&inotify_fd), Interest::READABLE)
        .map_err(|error| Error::system(&error, "epoll_ctl"))?;
    let ended = follow(shared, commands, &inotify_fd, &registered).await;
    // The kernel may take many milliseconds to end an instance.
    drop(registered);
    let closed = shared.bounds.guest_threads.run(move || {
        drop(inotify_fd);
        Ok(())
    });
    closed.await?;
    ended
}

async fn follow(
    shared: &Arc<Shared>,
    commands: &mut UnboundedReceiver<Command>,
    inotify_fd: &Arc<OwnedFd>,
    registered: &AsyncFd<Arc<OwnedFd>>,
) -> Result<(), Error> {
    let most = most();
    let mut state = Box::new(State::new(most));
    let mut inotify = Inotify::new(Arc::clone(inotify_fd));
    loop {
        let mut ready = None;
        let mut received = Vec::new();
        if !state.has_pending() {
            let deadline = state.deadline();
            let second_half = async {
                match deadline {
                    Some(deadline) => sleep_until(deadline.into()).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                command = commands.recv() => match command {
                    Some(command) => received.push(command),
                    // All watches were ended.
                    None => return Ok(()),
                },
                readable = registered.readable() => {
                    ready = Some(readable.map_err(|error| Error::system(&error, "epoll_wait"))?);
                }
                () = second_half => {}
            }
        }
        while let Ok(command) = commands.try_recv() {
            received.push(command);
        }
        let batch = match state.next_batch() {
            Some(batch) => Some(batch.open(shared).await),
            None => None,
        };
        let is_drained;
        let ending = Arc::clone(shared);
        (state, inotify, is_drained) = shared
            .as_guest(move || {
                // Its directories disappear before its exit is reported.
                if ending.is_ending() {
                    return Err(Error::Disposed);
                }
                for command in received {
                    match command {
                        Command::Start(id, watched) => state.start(id, *watched),
                        Command::Stop(id) => state.stop(id),
                    }
                }
                if let Some(batch) = batch {
                    let found = batch.look(&inotify, most)?;
                    state.begin(found, inotify.position(), Instant::now());
                }
                let is_drained = inotify
                    .read(&mut state)
                    .map_err(|errno| Error::system(&errno.into(), "read"))?;
                state.settle(Instant::now());
                Ok((state, inotify, is_drained))
            })
            .await?;
        if let Some(mut ready) = ready
            && is_drained
        {
            ready.clear_ready();
        }
        if shared.bounds.watches.leave() {
            return Ok(());
        }
    }
}

/// An inotify instance, which the kernel counts for the VM's user.
async fn inotify(shared: &Shared) -> Result<OwnedFd, Error> {
    let opened = shared.file_step(FileStep::Inotify, Vec::new()).await;
    let (_, fds) = opened.map_err(|error| match error {
        Error::System {
            errno: libc::EMFILE, ..
        } => Error::LimitExceeded(
            "the user of this VM may have no more inotify instances (fs.inotify.max_user_instances): end programs that \
             watch files, or raise it"
                .to_owned(),
        ),
        other => other,
    })?;
    fds.into_iter().next().ok_or_else(Error::missing_descriptor)
}

/// The most directories that one VM may watch.
fn most() -> usize {
    let of_user = std::fs::read_to_string("/proc/sys/fs/inotify/max_user_watches");
    let of_user = of_user.ok().and_then(|text| text.trim().parse::<usize>().ok());
    of_user.map_or(MOST, |of_user| MOST.min(of_user / SHARE).max(1))
}
