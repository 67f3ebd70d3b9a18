//! The calls about the ports that a VM's processes listen on, and the looking that all of them share.
//!
//! The kernel reports to nobody that a socket listens. So the host looks, while a call waits or JavaScript listens to the
//! events; one look serves all of them. See `pace.rs` for how often.

use std::collections::BTreeMap;
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
use crate::events::{Event, PortChange};
use crate::listening::{Counts, ListeningPort, Look, Sight};
use crate::runtime;
use crate::shared::Shared;
use crate::vm::Vm;

/// The maximum number of changes in one event. More changes come in the next ones.
const MOST_CHANGES: usize = 256;

impl Vm {
    /// The ports that the VM's processes listen on now.
    pub async fn list_ports(&self) -> Result<Vec<ListeningPort>, Error> {
        // Programs can make no TCP socket there.
        if self.isolation() == Isolation::Landlock {
            return Ok(Vec::new());
        }
        let seen = sight(self.shared());
        self.shared().bounds.guest_threads.run(move || seen.look()).await
    }

    /// Waits until a process of the VM listens on `port`, at an address that [`connect`](Vm::connect) reaches.
    ///
    /// Fails with [`Error::TimedOut`] after `patience`, with [`Error::Aborted`] after `abort`, with [`Error::Disposed`] when the
    /// VM ends, with [`Error::LimitExceeded`] while [`MAX_WAITING`] other calls wait, and with
    /// [`Error::IsolationUnavailable`] where nothing can listen.
    pub async fn wait_for_port(
        &self,
        port: u16,
        patience: Option<Duration>,
        abort: &Abort,
    ) -> Result<ListeningPort, Error> {
        if self.isolation() == Isolation::Landlock {
            return Err(Error::IsolationUnavailable {
                cause: "A VM of isolation \"landlock\" has no network, not even a loopback, so nothing listens in it"
                    .into(),
                remedy: "Use isolation \"namespaces\", or wait for the program's output".into(),
            });
        }
        let shared = self.shared();
        let _place = shared.bounds.waiting.try_acquire().map_err(|_| {
            Error::LimitExceeded(format!(
                "{MAX_WAITING} calls wait for something in this VM already; await some of them first"
            ))
        })?;
        let found = async {
            match patience {
                Some(patience) => timeout(patience, until_open(shared, port)).await.map_err(|_| {
                    let ms = patience.as_millis();
                    Error::TimedOut(format!("Nothing listens on port {port} of the VM after {ms} ms"))
                })?,
                None => until_open(shared, port).await,
            }
        };
        tokio::select! {
            biased;
            () = shared.until_ended() => Err(Error::Disposed),
            () = abort.aborted() => Err(Error::Aborted),
            found = found => self.or_ended(found),
        }
    }

    /// Begins or ceases to emit [`Event::Ports`].
    pub fn follow_ports(&self, on: bool) {
        let shared = self.shared();
        // Nothing can listen there.
        if self.isolation() == Isolation::Landlock || shared.ports.is_listening() == on {
            return;
        }
        shared.ports.listening.fetch_add(1, Ordering::Relaxed);
        if on {
            look_from_now(shared);
        }
    }
}

fn sight(shared: &Shared) -> Sight {
    Sight {
        proc_fd: Arc::clone(&shared.proc_fd),
        init: shared.init,
        helpers: shared.control.helpers(),
        whole: shared.isolation == Isolation::Namespaces,
        network: shared.network,
    }
}

/// Waits for a look that began after this call and shows the port.
async fn until_open(shared: &Arc<Shared>, port: u16) -> Result<ListeningPort, Error> {
    let mut looks = shared.ports.last.subscribe();
    let before = shared.ports.begun.load(Ordering::Relaxed);
    look_from_now(shared);
    loop {
        // An error would mean that `shared` is gone.
        looks.changed().await.map_err(|_| Error::Disposed)?;
        let look = looks.borrow_and_update().clone();
        let Some(look) = look.filter(|look| look.number > before) else {
            continue;
        };
        match &look.ports {
            Ok(ports) => {
                let found = ports.iter().find(|one| one.port == port && one.is_reached());
                if let Some(found) = found {
                    return Ok(found.clone());
                }
            }
            // The server has no free descriptor now; it may have one later.
            Err(Error::System { .. }) => {}
            Err(error) => return Err(error.clone()),
        }
    }
}

/// Makes the task look now, and starts it if it does not run.
fn look_from_now(shared: &Arc<Shared>) {
    let mut running = shared.ports.running.lock();
    if *running {
        shared.ports.demand.notify_one();
        return;
    }
    let Ok(runtime) = runtime::handle() else {
        // The VM could not have booted.
        return;
    };
    *running = true;
    drop(runtime.spawn(look_on(Arc::clone(shared))));
}

/// Looks until nobody needs it any more, or the VM has ended.
async fn look_on(shared: Arc<Shared>) {
    tokio::select! {
        () = shared.until_ended() => {}
        () = look_while_wanted(&shared) => {}
    }
}

async fn look_while_wanted(shared: &Arc<Shared>) {
    let watch = &shared.ports;
    let mut pace = Pace::new();
    let mut reports = Reports::default();
    loop {
        let number = watch.begun.fetch_add(1, Ordering::Relaxed) + 1;
        let (counts, ports) = look(shared, &mut pace).await;
        if let Ok(ports) = &ports
            && reports.emit(shared, ports).await
        {
            pace.changed();
        }
        watch.last.send_replace(Some(Arc::new(Look { number, ports })));
        loop {
            {
                let mut running = watch.running.lock();
                if !watch.is_wanted() {
                    *running = false;
                    return;
                }
            }
            tokio::select! {
                () = watch.demand.notified() => {
                    pace.changed();
                    break;
                }
                () = sleep(pace.step()) => {}
            }
            let seen = sight(shared);
            let now = shared.bounds.guest_threads.run(move || Ok(seen.counts())).await;
            let seems_changed = now.map_or(true, |now| now.is_none() || now != counts);
            if pace.is_due(seems_changed || reports.are_behind) {
                break;
            }
        }
    }
}

/// A whole look, and what the cheap one showed before it.
async fn look(shared: &Shared, pace: &mut Pace) -> (Option<Counts>, Result<Vec<ListeningPort>, Error>) {
    let seen = sight(shared);
    let work = move || {
        let begun = Instant::now();
        let counts = seen.counts();
        let ports = seen.look();
        Ok((counts, ports, begun.elapsed()))
    };
    match shared.bounds.guest_threads.run(work).await {
        Ok((counts, ports, took)) => {
            pace.looked(took);
            (counts, ports)
        }
        Err(error) => (None, Err(error)),
    }
}

/// What JavaScript knows of the ports.
#[derive(Default)]
struct Reports {
    /// For which listening.
    listening: u64,
    known: BTreeMap<u16, ListeningPort>,
    /// Whether the last look has shown more changes than one event takes.
    are_behind: bool,
}

impl Reports {
    /// Emits what has changed, and waits until JavaScript has taken it. Returns whether anything has.
    async fn emit(&mut self, shared: &Shared, ports: &[ListeningPort]) -> bool {
        let listening = shared.ports.listening.load(Ordering::Relaxed);
        if listening != self.listening {
            *self = Self {
                listening,
                ..Self::default()
            };
        }
        if !shared.ports.is_listening() || shared.has_ended() {
            return false;
        }
        let changes = self.changes(ports);
        if changes.is_empty() {
            return false;
        }
        let (credit, returned) = Credit::new();
        shared.events.emit(Event::Ports { changes, credit });
        returned.wait().await;
        true
    }

    /// The next changes. They count as known from now on.
    fn changes(&mut self, ports: &[ListeningPort]) -> Vec<PortChange> {
        let mut now = BTreeMap::new();
        // The first address of a port counts.
        for port in ports {
            now.entry(port.port).or_insert(port);
        }
        let closed = self.known.keys().filter(|port| !now.contains_key(port));
        let closed = closed.map(|port| PortChange::Closed(*port));
        let opened = now.values().filter(|port| !self.known.contains_key(&port.port));
        let opened = opened.map(|port| PortChange::Opened((*port).clone()));
        let mut changes: Vec<_> = closed.chain(opened).take(MOST_CHANGES + 1).collect();
        self.are_behind = changes.len() > MOST_CHANGES;
        changes.truncate(MOST_CHANGES);
        for change in &changes {
            match change {
                PortChange::Closed(port) => drop(self.known.remove(port)),
                PortChange::Opened(port) => drop(self.known.insert(port.port, port.clone())),
            }
        }
        changes
    }
}

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use super::*;

    fn port(port: u16) -> ListeningPort {
        ListeningPort {
            port,
            address: Ipv4Addr::LOCALHOST.into(),
            pid: Some(2),
        }
    }

    #[test]
    fn each_change_is_reported_once_and_none_is_lost_at_the_bound() {
        let mut reports = Reports::default();
        let open: Vec<_> = (1..=300).map(port).collect();
        assert_eq!(reports.changes(&open).len(), MOST_CHANGES);
        assert!(reports.are_behind);
        assert_eq!(reports.changes(&open).len(), 300 - MOST_CHANGES);
        assert!(!reports.are_behind && reports.changes(&open).is_empty());
        let closed = reports.changes(&open[1..]);
        assert_eq!(closed, [PortChange::Closed(1)]);
    }
}
