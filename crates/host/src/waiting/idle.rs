//! The calls that wait until the program in a shell's foreground waits for input.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use tokio::time::{sleep, timeout};

use super::pace::Pace;
use crate::abort::Abort;
use crate::boot::Isolation;
use crate::bounds::MAX_WAITING;
use crate::credit::Credit;
use crate::error::Error;
use crate::events::Event;
use crate::process_table::members;
use crate::runtime;
use crate::shared::Shared;
use crate::shell_id::ShellId;
use crate::terminals::{IdleLook, LookAt, ShellLook, TerminalState, look};
use crate::vm::Vm;

/// For how long a program must have waited, without having run or printed in between. What is written to a terminal reaches its
/// program a moment later.
const QUIET: Duration = Duration::from_millis(100);

/// The time between two looks at a program that waits.
const CLOSE: Duration = Duration::from_millis(25);

/// How many times as long as a look takes lies between the beginnings of two. See `pace.rs` for how long one who waits rests.
const REST: u32 = 11;

/// Follows whether one shell has waited for long enough.
#[derive(Debug, Default)]
struct Quiet {
    since: Option<(ShellLook, Instant)>,
}

impl Quiet {
    /// Takes what a look has shown. Returns whether the shell waits.
    fn saw(&mut self, shell: ShellLook, at: Instant) -> bool {
        if !matches!(shell.state, TerminalState::Waits(_)) {
            self.since = None;
            return false;
        }
        match self.since {
            Some((before, since)) if before == shell => at.duration_since(since) >= QUIET,
            _ => {
                self.since = Some((shell, at));
                false
            }
        }
    }
}

impl Vm {
    /// Waits until the program in the shell's foreground has waited for input for [`QUIET`].
    ///
    /// Fails with [`Error::ShellNotFound`] if there is no such shell or it exits, with [`Error::TimedOut`] after `patience`, with
    /// [`Error::Aborted`] after `abort`, with [`Error::Disposed`] when the VM ends, with [`Error::LimitExceeded`] while
    /// [`MAX_WAITING`] other calls wait, and with [`Error::IsolationUnavailable`] where the kernel does not show what it does.
    pub async fn wait_for_idle(
        &self,
        name: &str,
        patience: Option<Duration>,
        abort: &Abort,
    ) -> Result<(), Error> {
        let shared = self.shared();
        let not_found = || Error::ShellNotFound(name.to_owned());
        let id = ShellId::parse(name).ok_or_else(not_found);
        let id = self.or_ended(id.and_then(|id| {
            let shell = shared.shells.lock().get(&id);
            let runs = shell.is_some_and(|shell| shell.record.status().is_none());
            runs.then_some(id).ok_or_else(not_found)
        }))?;
        let _place = shared.bounds.waiting.try_acquire().map_err(|_| {
            Error::LimitExceeded(format!(
                "{MAX_WAITING} calls wait for something in this VM already; await some of them first"
            ))
        })?;
        let idle = async {
            match patience {
                Some(patience) => timeout(patience, until_idle(shared, id)).await.map_err(|_| {
                    let ms = patience.as_millis();
                    Error::TimedOut(format!("{name} does not wait for input after {ms} ms"))
                })?,
                None => until_idle(shared, id).await,
            }
        };
        tokio::select! {
            biased;
            () = shared.until_ended() => Err(Error::Disposed),
            () = abort.aborted() => Err(Error::Aborted),
            idle = idle => self.or_ended(idle),
        }
    }

    /// Begins or ceases to emit [`Event::ShellWaiting`].
    pub fn follow_shells(&self, on: bool) {
        let shared = self.shared();
        let before = shared.idle.listening.load(Ordering::Relaxed);
        if (before % 2 == 1) == on {
            return;
        }
        let number = shared.idle.listening.fetch_add(1, Ordering::Relaxed) + 1;
        if on && let Ok(runtime) = runtime::handle() {
            let shared = Arc::clone(shared);
            drop(runtime.spawn(async move {
                tokio::select! {
                    () = shared.until_ended() => {}
                    () = report(&shared, number) => {}
                }
            }));
        }
    }
}

async fn until_idle(shared: &Arc<Shared>, id: ShellId) -> Result<(), Error> {
    let begun = Instant::now();
    let mut quiet = Quiet::default();
    let mut pace = Pace::new();
    loop {
        let seen = last_look(shared, &mut pace).await?;
        // What was seen before the call does not count: the caller may have opened the shell, or written to it, in between.
        if seen.at >= begun {
            let shells = match &seen.shells {
                Ok(shells) => shells,
                // The server has no free descriptor now; it may have one later.
                Err(Error::System { .. }) => {
                    quiet = Quiet::default();
                    rest(&pace, false).await;
                    continue;
                }
                Err(error) => return Err(error.clone()),
            };
            let shell = shells.get(&id);
            let shell = shell.ok_or_else(|| Error::ShellNotFound(id.to_string()))?;
            if shell.state == TerminalState::Hidden {
                return Err(Error::IsolationUnavailable {
                    cause: "The kernel does not let the server see what the VM's programs wait for".into(),
                    remedy: "Give the server CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 0 or 1; with a range of ids \
                             under an ordinary user, run the program as `user`"
                        .into(),
                });
            }
            if quiet.saw(*shell, seen.at) {
                return Ok(());
            }
        }
        rest(&pace, quiet.since.is_some()).await;
    }
}

/// Emits the event for each shell that waits, once until it has done something else.
async fn report(shared: &Arc<Shared>, number: u64) {
    let mut quiet: HashMap<ShellId, Quiet> = HashMap::new();
    let mut reported: HashMap<ShellId, ShellLook> = HashMap::new();
    let mut pace = Pace::new();
    while shared.idle.listening.load(Ordering::Relaxed) == number {
        let mut close = false;
        if let Ok(seen) = last_look(shared, &mut pace).await
            && let Ok(looks) = &seen.shells
        {
            let shells: HashSet<_> = looks.keys().copied().collect();
            quiet.retain(|id, _| shells.contains(id));
            reported.retain(|id, _| shells.contains(id));
            for (id, shell) in looks {
                let has_changed = reported.get(id).is_none_or(|before| !before.is_same_wait(shell));
                if has_changed && reported.remove(id).is_some() {
                    pace.changed();
                }
                let each = quiet.entry(*id).or_default();
                if each.saw(*shell, seen.at) && has_changed {
                    reported.insert(*id, *shell);
                    let (credit, returned) = Credit::new();
                    if shared.has_ended() {
                        return;
                    }
                    shared.events.emit(Event::ShellWaiting { shell: *id, credit });
                    returned.wait().await;
                } else {
                    close |= has_changed && each.since.is_some();
                }
            }
        }
        rest(&pace, close).await;
    }
}

async fn rest(pace: &Pace, close: bool) {
    let step = if close { CLOSE } else { pace.step() };
    sleep(step.max(pace.least())).await;
}

/// The last look at all shells, or another one if that is long past: all who wait share it.
async fn last_look(shared: &Arc<Shared>, pace: &mut Pace) -> Result<Arc<IdleLook>, Error> {
    let mut last = Arc::clone(&shared.idle.last).lock_owned().await;
    let look = if let Some(look) = &*last
        && is_recent(look)
    {
        Arc::clone(look)
    } else {
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        let shared = Arc::clone(shared);
        // In a task of its own: who waits may give up, but the lock must stay for as long as a guest thread looks.
        let task = runtime.spawn(async move {
            let guest_threads = shared.bounds.guest_threads.clone();
            let look = guest_threads.run(move || Ok(look_at_shells(&shared))).await;
            let look = Arc::new(look.unwrap_or_else(|error| IdleLook {
                at: Instant::now(),
                took: Duration::ZERO,
                shells: Err(error),
            }));
            *last = Some(Arc::clone(&look));
            look
        });
        // The task does not panic, and the runtime is never shut down.
        task.await.map_err(|_| Error::Disposed)?
    };
    pace.looked(look.took);
    Ok(look)
}

/// Looks at all running shells.
fn look_at_shells(shared: &Shared) -> IdleLook {
    let at = Instant::now();
    let shells = states(shared);
    IdleLook {
        at,
        took: at.elapsed(),
        shells,
    }
}

fn states(shared: &Shared) -> Result<HashMap<ShellId, ShellLook>, Error> {
    let shells: Vec<_> = shared
        .shells
        .lock()
        .all()
        .into_iter()
        .filter(|shell| shell.record.status().is_none())
        .collect();
    let places: Vec<_> = shells
        .iter()
        .map(|shell| LookAt {
            key: shell.id,
            pid: shell.record.pid,
        })
        .collect();
    let failed = |error: std::io::Error| Error::system(&error, "open");
    let whole = shared.isolation == Isolation::Namespaces;
    let members = members(&shared.proc_fd, shared.init, &shared.control.helpers(), whole)
        .map_err(failed)?
        .ok_or(Error::Disposed)?;
    let states = look(&shared.proc_fd, &members, &places).map_err(failed)?;
    let looks = shells.iter().map(|shell| {
        let state = states.get(&shell.id).copied().unwrap_or(TerminalState::Busy);
        let printed = shell.record.log.lock().end();
        let written = shell.record.input.written();
        (
            shell.id,
            ShellLook {
                state,
                printed,
                written,
            },
        )
    });
    Ok(looks.collect())
}

/// Whether less time has passed since this look than must lie between two.
fn is_recent(look: &IdleLook) -> bool {
    look.at.elapsed() < CLOSE.max(look.took * REST)
}
