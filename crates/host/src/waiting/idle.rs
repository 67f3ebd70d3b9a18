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
        let seen = look_at_shells(shared, &mut pace).await?;
        // What was seen before the call does not count: the caller may have opened the shell, or written to it, in between.
        if seen.at >= begun {
            let shell = seen.shells.get(&id);
            let shell = shell.ok_or_else(|| Error::ShellNotFound(id.to_string()))?;
            if shell.state == TerminalState::Hidden {
                return Err(Error::IsolationUnavailable {
                    cause: "The kernel does not let the server see what the VM's programs wait for".into(),
                    remedy: "Give the server CAP_SYS_PTRACE, or set kernel.yama.ptrace_scope to 0 or 1"
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
        if let Ok(seen) = look_at_shells(shared, &mut pace).await {
            let shells: HashSet<_> = seen.shells.keys().copied().collect();
            quiet.retain(|id, _| shells.contains(id));
            reported.retain(|id, _| shells.contains(id));
            for (id, shell) in &seen.shells {
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

/// A look at all shells, at most so old as two looks may be apart: all who wait share it.
async fn look_at_shells(shared: &Arc<Shared>, pace: &mut Pace) -> Result<Arc<IdleLook>, Error> {
    let mut last = shared.idle.last.lock().await;
    if let Some(last) = &*last
        && last.at.elapsed() < CLOSE.max(last.took * 2)
    {
        return Ok(Arc::clone(last));
    }
    let shells: Vec<_> = shared
        .shells
        .lock()
        .all()
        .into_iter()
        .filter(|shell| shell.record.status().is_none())
        .collect();
    let at = Instant::now();
    let (proc_fd, init) = (Arc::clone(&shared.proc_fd), shared.init);
    let helpers = shared.control.helpers();
    let whole = shared.isolation == Isolation::Namespaces;
    let work = move || {
        let places: Vec<_> = shells
            .iter()
            .map(|shell| LookAt {
                key: shell.id,
                pid: shell.record.pid,
            })
            .collect();
        let failed = |error: std::io::Error| Error::system(&error, "open");
        let members = members(&proc_fd, init, &helpers, whole)
            .map_err(failed)?
            .ok_or(Error::Disposed)?;
        let states = look(&proc_fd, &members, &places).map_err(failed)?;
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
        Ok(looks.collect::<HashMap<_, _>>())
    };
    let shells = shared.bounds.guest_threads.run(work).await?;
    let took = at.elapsed();
    pace.looked(took);
    let look = Arc::new(IdleLook { at, took, shells });
    *last = Some(Arc::clone(&look));
    Ok(look)
}
