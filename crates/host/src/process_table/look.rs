//! Reads processes on threads that may wait. A program can hold the lock of its own memory for as long as it likes, and
//! who reads its command line waits for that lock. So a read that waits too long is given up, and the process is
//! described without it.

use std::collections::HashSet;
use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use agent_vm_proc_stat::{STAT_BYTES, numbers};
use agent_vm_protocol::message::KnownProcess;
use parking_lot::Mutex;
use tokio::time::timeout;

use super::command_line::Allowance;
use super::{ProcessInfo, clock, describe, family_of, open, unless_gone, with_status};
use crate::error::Error;
use crate::guest_threads::GuestThreads;
use crate::runtime;

/// How long the memory of one process may take to read: much longer than on a busy machine.
const PATIENCE: Duration = Duration::from_millis(500);

/// How often that is checked.
const TICK: Duration = Duration::from_millis(100);

/// How many processes a look gives up before it reads no process's memory any more.
const MOST_GIVEN_UP: u32 = 3;

/// A process: its pid, and when it started.
type Key = (i32, u64);

/// A process to look at; a known one with its start time.
type Wanted = (i32, Option<u64>);

/// The `/proc` of one VM.
#[derive(Debug)]
pub struct ProcessLook {
    proc_fd: Arc<OwnedFd>,
    /// Init's pid there.
    init: i32,
    /// Whether everything there is the VM's; otherwise only the descendants of init are.
    whole: bool,
    threads: GuestThreads,
    /// The processes whose memory a thread waits for that was given up. At most one thread waits for a process.
    held: Mutex<HashSet<Key>>,
}

/// What to look at.
enum Whom {
    /// Everything in the VM except init and these helpers.
    All(Vec<u32>),
    /// These processes, without those that have ended.
    These(Vec<KnownProcess>),
}

/// A look that is under way. Its threads take turns: one that was given up finds that another has its place.
struct Look {
    whom: Whom,
    progress: Mutex<Progress>,
}

/// Gives up the thread that looks when nobody waits for the look any more: an aborted call must not leave it behind.
struct AbandonOnDrop<'a>(&'a Look, &'a Mutex<HashSet<Key>>);

impl Drop for AbandonOnDrop<'_> {
    fn drop(&mut self) {
        let Self(look, held) = self;
        let mut progress = look.progress.lock();
        progress.worker = u32::MAX;
        let waits = progress.waits.take();
        held.lock().extend(waits.and_then(|(_, key)| key));
    }
}

#[derive(Default)]
struct Progress {
    /// The number of the thread that looks.
    worker: u32,
    /// The processes, once they are listed.
    wanted: Option<Vec<Wanted>>,
    /// How many of them are done.
    done: usize,
    /// Since when that thread waits to begin, or to read the memory of a process.
    waits: Option<(Instant, Option<Key>)>,
    allowance: Allowance,
    found: Vec<ProcessInfo>,
}

impl ProcessLook {
    /// Looks into the `/proc` that `proc_fd` refers to; `init` is init's pid there, and if `whole`, it contains the VM's
    /// processes only.
    pub fn new(proc_fd: Arc<OwnedFd>, init: i32, whole: bool) -> Self {
        Self {
            proc_fd,
            init,
            whole,
            threads: GuestThreads::new(),
            held: Mutex::default(),
        }
    }

    /// Every process of the VM except init and its `helpers`, by pid. Fails if the VM is gone, or if the server has no
    /// free descriptor.
    pub async fn all(self: &Arc<Self>, helpers: Vec<u32>) -> Result<Vec<ProcessInfo>, Error> {
        self.look(Whom::All(helpers), Allowance::default()).await
    }

    /// Those of `processes` that have not ended, in this order.
    pub async fn these(self: &Arc<Self>, processes: Vec<KnownProcess>) -> Result<Vec<ProcessInfo>, Error> {
        if processes.is_empty() {
            return Ok(Vec::new());
        }
        self.look(Whom::These(processes), Allowance::brief()).await
    }

    async fn look(self: &Arc<Self>, whom: Whom, allowance: Allowance) -> Result<Vec<ProcessInfo>, Error> {
        let look = Arc::new(Look {
            whom,
            progress: Mutex::new(Progress {
                allowance,
                ..Progress::default()
            }),
        });
        let _abandons = AbandonOnDrop(&look, &self.held);
        for worker in 0..MOST_GIVEN_UP {
            if self.work(&look, worker).await? {
                return Ok(look.take());
            }
        }
        // Waits for nothing that a program can hold, so any thread will do.
        let (this, shared) = (Arc::clone(self), Arc::clone(&look));
        let runtime = runtime::handle().map_err(|error| Error::system(&error, "epoll_create"))?;
        let work = move || shared.work(&this, MOST_GIVEN_UP, false);
        // The work does not panic, and the runtime is never shut down.
        runtime
            .spawn_blocking(work)
            .await
            .map_err(|_| Error::Disposed)??;
        Ok(look.take())
    }

    /// Looks on one thread; returns false if that thread was given up.
    async fn work(self: &Arc<Self>, look: &Arc<Look>, worker: u32) -> Result<bool, Error> {
        {
            let mut progress = look.progress.lock();
            progress.worker = worker;
            progress.waits = Some((Instant::now(), None));
        }
        let (this, shared) = (Arc::clone(self), Arc::clone(look));
        let work = self.threads.run(move || shared.work(&this, worker, true));
        tokio::pin!(work);
        loop {
            if let Ok(ended) = timeout(TICK, &mut work).await {
                return ended.map(|()| true);
            }
            if look.give_up(&self.held) {
                return Ok(false);
            }
        }
    }
}

impl Look {
    /// Gives the thread up that looks if it has waited too long. Returns whether it did.
    fn give_up(&self, held: &Mutex<HashSet<Key>>) -> bool {
        let mut progress = self.progress.lock();
        let Some((_, key)) = progress.waits.take_if(|(since, _)| since.elapsed() > PATIENCE) else {
            return false;
        };
        // From now on that thread does nothing more.
        progress.worker += 1;
        held.lock().extend(key);
        true
    }

    fn take(&self) -> Vec<ProcessInfo> {
        std::mem::take(&mut self.progress.lock().found)
    }

    /// Looks at one process after another, until all are done or another thread has this one's place. Does not read
    /// their memory unless `reads`.
    fn work(&self, vm: &ProcessLook, worker: u32, reads: bool) -> Result<(), Error> {
        self.try_work(vm, worker, reads)
            .map_err(|error| Error::system(&error, "open"))?
            .ok_or(Error::Disposed)
    }

    /// `None` if the VM is gone.
    fn try_work(&self, vm: &ProcessLook, worker: u32, reads: bool) -> std::io::Result<Option<()>> {
        if !self.start(worker) {
            return Ok(Some(()));
        }
        if self.progress.lock().wanted.is_none() {
            let Some(listed) = self.list(vm)? else {
                return Ok(None);
            };
            let mut progress = self.progress.lock();
            if progress.worker == worker {
                progress.wanted.get_or_insert(listed);
            }
        }
        let boot_ms = clock::boot_time_ms();
        while let Some((pid, start)) = self.next(worker) {
            // One process at a time: a VM may have more processes than the server has descriptors.
            let mut buffer = [0; STAT_BYTES];
            let described = match open(&vm.proc_fd, pid, &mut buffer)? {
                // Another process may have this pid by now.
                Some((stat, directory)) if start.is_none_or(|start| start == stat.start) => {
                    let (status, directory) = with_status(&stat, directory);
                    let key = (pid, stat.start);
                    let is_readable = reads && !vm.held.lock().contains(&key);
                    let Some(mut allowance) = self.begin(worker, key) else {
                        return Ok(Some(()));
                    };
                    let line = if is_readable {
                        allowance.read(&directory)
                    } else {
                        Ok(Vec::new())
                    };
                    if !self.end(worker, allowance) {
                        vm.held.lock().remove(&key);
                        return Ok(Some(()));
                    }
                    let line = unless_gone(line)?.unwrap_or_default();
                    Some(describe(&stat, status, &directory, &line, vm.init, boot_ms))
                }
                _ => None,
            };
            if !self.add(worker, described) {
                return Ok(Some(()));
            }
        }
        // Checked last: while init lives, everything found before was the VM's.
        let mut buffer = [0; STAT_BYTES];
        let init = open(&vm.proc_fd, vm.init, &mut buffer)?;
        Ok(init.is_some_and(|(stat, _)| !stat.is_headless()).then_some(()))
    }

    /// The processes to look at; `None` if `/proc` is gone.
    fn list(&self, vm: &ProcessLook) -> std::io::Result<Option<Vec<Wanted>>> {
        let helpers = match &self.whom {
            Whom::These(processes) => {
                let wanted = processes.iter().map(|p| (p.pid as i32, Some(p.start)));
                return Ok(Some(wanted.collect()));
            }
            Whom::All(helpers) => helpers,
        };
        let Some(mut pids) = unless_gone(numbers(&vm.proc_fd, ".").map_err(Into::into))? else {
            return Ok(None);
        };
        pids.retain(|pid| *pid != vm.init && !helpers.contains(&(*pid as u32)));
        pids.sort_unstable();
        if vm.whole {
            return Ok(Some(pids.into_iter().map(|pid| (pid, None)).collect()));
        }
        let family = family_of(&vm.proc_fd, &pids, vm.init)?;
        let ours = pids
            .into_iter()
            .filter_map(|pid| Some((pid, Some(*family.get(&pid)?))));
        Ok(Some(ours.collect()))
    }

    /// Begins. False if another thread has this one's place.
    fn start(&self, worker: u32) -> bool {
        let mut progress = self.progress.lock();
        let is_its = progress.worker == worker;
        if is_its {
            progress.waits = None;
        }
        is_its
    }

    /// The next process, if there is one and it is this thread's.
    fn next(&self, worker: u32) -> Option<Wanted> {
        let progress = self.progress.lock();
        let wanted = progress.wanted.as_ref().filter(|_| progress.worker == worker)?;
        wanted.get(progress.done).copied()
    }

    /// Notes that the memory of a process is about to be read. Returns how much may be read of it; `None` if another
    /// thread has this one's place.
    fn begin(&self, worker: u32, key: Key) -> Option<Allowance> {
        let mut progress = self.progress.lock();
        if progress.worker != worker {
            return None;
        }
        progress.waits = Some((Instant::now(), Some(key)));
        Some(progress.allowance)
    }

    /// Notes that it was read, and how much is left. False if another thread has this one's place.
    fn end(&self, worker: u32, left: Allowance) -> bool {
        let mut progress = self.progress.lock();
        if progress.worker != worker {
            return false;
        }
        progress.waits = None;
        progress.allowance = left;
        true
    }

    /// Adds a process that was described, or counts one that was not found. False if another thread has this one's
    /// place.
    fn add(&self, worker: u32, described: Option<ProcessInfo>) -> bool {
        let mut progress = self.progress.lock();
        if progress.worker != worker {
            return false;
        }
        progress.done += 1;
        progress.found.extend(described);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_abandoned_look_gives_its_thread_up() {
        let look = Look {
            whom: Whom::These(Vec::new()),
            progress: Mutex::default(),
        };
        let held = Mutex::default();
        let abandons = AbandonOnDrop(&look, &held);
        assert!(look.begin(0, (7, 100)).is_some());
        drop(abandons);
        assert!(held.lock().contains(&(7, 100)));
        assert!(!look.end(0, Allowance::default()) && !look.start(0));
    }
}
