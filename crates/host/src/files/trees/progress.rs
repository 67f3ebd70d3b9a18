//! How far a transfer is, and whether it must stop.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use tokio::sync::Notify;

use super::entry::{Content, Entry};
use super::request::TransferLimits;
use crate::credit::{Credit, CreditReturned};
use crate::error::Error;
use crate::open_archives::ArchiveWork;
use crate::totals::Totals;
use crate::vm::{Vm, WeakVm};

/// The shortest time between two reports.
const INTERVAL: Duration = Duration::from_millis(100);

/// Receives totals, on a thread that may block. The next ones arrive when [`Credit`] is dropped.
pub type OnProgress = Arc<dyn Fn(Totals, Credit) + Send + Sync>;

#[derive(Default)]
struct Counters {
    files: AtomicU64,
    directories: AtomicU64,
    links: AtomicU64,
    bytes: AtomicU64,
    skipped: AtomicU64,
    stopped: AtomicBool,
    stopping: Notify,
}

/// The progress of one transfer, which its threads share.
#[derive(Clone)]
pub struct Progress {
    counters: Arc<Counters>,
    /// The VM that it is about, if any.
    vm: Option<Arc<WeakVm>>,
    limits: TransferLimits,
    reports: Arc<Mutex<Reports>>,
}

struct Reports {
    on_progress: Option<OnProgress>,
    last: Instant,
    ahead: Option<CreditReturned>,
}

impl Progress {
    pub fn new(vm: &Vm, limits: TransferLimits, on_progress: Option<OnProgress>) -> Self {
        Self::of(Some(vm.weak()), limits, on_progress)
    }

    /// That of an archive without a VM.
    pub fn without_vm(limits: TransferLimits) -> Self {
        Self::of(None, limits, None)
    }

    fn of(vm: Option<WeakVm>, limits: TransferLimits, on_progress: Option<OnProgress>) -> Self {
        Self {
            counters: Arc::default(),
            vm: vm.map(Arc::new),
            limits,
            reports: Arc::new(Mutex::new(Reports {
                on_progress,
                last: Instant::now(),
                ahead: None,
            })),
        }
    }

    /// Makes the transfer end.
    pub fn stop(&self) {
        self.counters.stopped.store(true, Ordering::Relaxed);
        self.counters.stopping.notify_one();
    }

    /// Returns when the transfer must end. For one caller.
    pub async fn stopped(&self) {
        self.counters.stopping.notified().await;
    }

    /// Fails if the transfer must end.
    pub fn check(&self) -> Result<(), Error> {
        if self.counters.stopped.load(Ordering::Relaxed) {
            Err(Error::Aborted)
        } else if self.vm.as_ref().is_some_and(|vm| vm.is_ending()) {
            Err(Error::Disposed)
        } else {
            Ok(())
        }
    }

    /// Counts a directory.
    pub fn directory(&self) -> Result<(), Error> {
        self.counters.directories.fetch_add(1, Ordering::Relaxed);
        self.check_entries()
    }

    /// Counts a link.
    pub fn link(&self) -> Result<(), Error> {
        self.counters.links.fetch_add(1, Ordering::Relaxed);
        self.check_entries()
    }

    /// Counts a file.
    pub fn file(&self) -> Result<(), Error> {
        self.counters.files.fetch_add(1, Ordering::Relaxed);
        self.check_entries()
    }

    /// Fails if a file of so many bytes is too much.
    pub fn room(&self, bytes: u64) -> Result<(), Error> {
        let all = self.counters.bytes.load(Ordering::Relaxed).saturating_add(bytes);
        if all > self.limits.bytes {
            return Err(Error::LimitExceeded(format!(
                "the files have more than {} bytes, the most that this call copies (maxBytes)",
                self.limits.bytes
            )));
        }
        Ok(())
    }

    /// Fails if files are too much.
    pub fn room_for(&self, entries: &[Entry]) -> Result<(), Error> {
        let sizes = entries.iter().map(|entry| match &entry.content {
            Content::File { size, .. } => *size,
            Content::Bytes { bytes, .. } => bytes.len() as u64,
            Content::Symlink { .. } => 0,
        });
        self.room(sizes.fold(0, u64::saturating_add))
    }

    /// Counts bytes. A file may have more than its size promises, as those of /proc do.
    pub fn bytes(&self, count: u64) -> Result<(), Error> {
        self.counters.bytes.fetch_add(count, Ordering::Relaxed);
        self.room(0)
    }

    /// Counts what is not copied.
    pub fn skip(&self, count: u64) {
        self.counters.skipped.fetch_add(count, Ordering::Relaxed);
    }

    fn check_entries(&self) -> Result<(), Error> {
        let Totals {
            files,
            directories,
            links,
            ..
        } = self.totals();
        if files + directories + links > self.limits.entries {
            return Err(Error::LimitExceeded(format!(
                "the tree has more than {} files, directories and links, the most that this call copies (maxEntries)",
                self.limits.entries
            )));
        }
        self.check()
    }

    pub fn totals(&self) -> Totals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Totals {
            files: read(&self.counters.files),
            directories: read(&self.counters.directories),
            links: read(&self.counters.links),
            bytes: read(&self.counters.bytes),
            skipped: read(&self.counters.skipped),
        }
    }

    /// Reports the totals, unless the last report was just now or is still being processed.
    pub fn report(&self) {
        self.send(false);
    }

    /// Reports the last totals.
    pub fn report_end(&self) {
        self.send(true);
    }

    fn send(&self, is_last: bool) {
        let mut reports = self.reports.lock();
        let Some(on_progress) = reports.on_progress.clone() else {
            return;
        };
        let is_busy = reports.ahead.as_mut().is_some_and(|ahead| !ahead.is_returned());
        if !is_last && (is_busy || reports.last.elapsed() < INTERVAL) {
            return;
        }
        let (credit, returned) = Credit::new();
        reports.ahead = Some(returned);
        reports.last = Instant::now();
        drop(reports);
        on_progress(self.totals(), credit);
    }
}

impl ArchiveWork for Progress {
    fn stop(&self) {
        Progress::stop(self);
    }

    fn totals(&self) -> Totals {
        Progress::totals(self)
    }
}
